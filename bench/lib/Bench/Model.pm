# The watched table of the benchmark, and how each round begins from the same state. Every variant has a schema of its
# own, with a table patches, so that all can be filled before the first is measured.
#
# A row is about 674 bytes: three URLs of 90 characters in images, and a jsonb of about 318 bytes with imageUrl. The URLs
# of one row share a folder; each name has 24 characters of its own, which no encoding can shorten.

package Bench::Model;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw($ENDPOINT create_database fill row_bytes search_path);

our $ENDPOINT = 'https://ik.imagekit.io/acme';

# So many rows are kept ready to be copied; more are made as they are needed.
my $ready_rows = 100_000;

my $create_database = qq{
	CREATE EXTENSION imagekit_cleanup;
	CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$ENDPOINT');

	CREATE FUNCTION image_url(id integer, n integer) RETURNS text LANGUAGE sql IMMUTABLE
	RETURN '$ENDPOINT/production/patches/' || lpad(id::text, 8, '0') || '/photo-'
	  || left(md5(id::text || '/' || n::text), 24) || '.jpg';

	CREATE FUNCTION schema_of(id integer) RETURNS jsonb LANGUAGE sql IMMUTABLE
	RETURN ('{"imageUrl": "' || image_url(id, 0) || '", "name": "Patch ' || id::text || '", "width": 1600, '
	  || '"height": 1200, "tags": ["crochet", "granny square", "wool"], "stitch": "double", '
	  || '"description": "Worked in the round, four colours, joined as you go."}')::jsonb;
};

my $create_table = q{
	CREATE TABLE patches (
	  id integer PRIMARY KEY,
	  title text NOT NULL,
	  views integer NOT NULL,
	  images text[] NOT NULL,
	  schema jsonb NOT NULL);
};

my $create_child = q{
	CREATE TABLE patch_notes (
	  id integer PRIMARY KEY,
	  patch_id integer NOT NULL REFERENCES patches ON DELETE CASCADE,
	  note text);
	CREATE INDEX ON patch_notes (patch_id);
};

# Makes the account, a schema for each of VARIANTS with what its trigger needs, and the rows to copy.
sub create_database
{
	my ($server, @variants) = @_;
	$server->sql($create_database . 'CREATE TABLE ready AS ' . made($ready_rows));
	for my $variant (@variants)
	{
		$server->sql("CREATE SCHEMA run_$variant->{name}");
		$server->sql($variant->{create}, search_path($variant));
	}
	return;
}

# Where the tables of VARIANT are found.
sub search_path { return "run_$_[0]{name},public"; }

# Gives each of VARIANTS a table with the rows 0 to ROWS (row 0 is for warming a session up), its triggers, and an empty
# outbox; nobody else has a table then.
# OPTIONS: child => 1 (an empty, indexed child with ON DELETE CASCADE).
#
# The checkpoint comes before the rows: pages written since need no full-page image, so that the measured WAL is that of
# the statement, and none of the checkpoint's writing falls into the measurement.
sub fill
{
	my ($server, $rows, $variants, %options) = @_;
	# Anew, not emptied: the triggers of the round before go with the table. unwatch() could not find it afterwards.
	$server->sql(q{
		SELECT imagekit.unwatch(relation) FROM imagekit.watched;
		SELECT format('DROP TABLE %I.%I CASCADE', schemaname, tablename) FROM pg_tables
		WHERE schemaname LIKE 'run\_%' AND tablename LIKE 'patch%' \gexec
		SELECT format('TRUNCATE %I.%I', schemaname, tablename) FROM pg_tables WHERE tablename = 'removed_images' \gexec
		TRUNCATE imagekit.outbox;
		CHECKPOINT;
	});
	my $source = $rows <= $ready_rows ? "SELECT * FROM ready WHERE id <= $rows" : made($rows);
	for my $variant (@$variants)
	{
		$server->sql($create_table . ($options{child} ? $create_child : '') . qq{
			INSERT INTO patches $source;
			$variant->{install}
			VACUUM (ANALYZE) patches;
		}, search_path($variant));
	}
	return;
}

# SQL that makes the rows 0 to ROWS.
sub made
{
	my ($rows) = @_;
	return qq{
		SELECT id, 'Patch ' || id::text AS title, 0 AS views,
		  ARRAY[image_url(id, 1), image_url(id, 2), image_url(id, 3)] AS images, schema_of(id) AS schema
		FROM generate_series(0, $rows) AS id};
}

# Bytes of an average row, as stored; for the record.
sub row_bytes
{
	my ($server) = @_;
	return $server->sql('SELECT round(avg(pg_column_size(r.*)))::integer FROM ready AS r') + 0;
}

1;
