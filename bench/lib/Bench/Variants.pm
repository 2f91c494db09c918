# What is measured side by side: no trigger, imagekit.watch(), and the two triggers a user would write by hand. No trigger
# is measured twice, as two variants: what the second differs by from the first is noise, and so is as much of the others.
#
# The hand-written ones do what capture must do at the least: each URL the row stops using becomes a row of an outbox
# that can be claimed in order. They are written with care, as a rival should be: one INSERT ... SELECT, and an UPDATE
# that leaves the images alone is seen before anything is unnested.

package Bench::Variants;

use strict;
use warnings;

use Bench::Model qw($ENDPOINT);
use Exporter 'import';

our @EXPORT_OK = qw(variants variant);

my $create_outbox = q{
	CREATE TABLE removed_images (
	  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	  url text NOT NULL,
	  state smallint NOT NULL DEFAULT 0,
	  attempts integer NOT NULL DEFAULT 0,
	  next_attempt_at timestamptz NOT NULL DEFAULT now());
	CREATE INDEX ON removed_images (next_attempt_at) WHERE state = 0;
};

my $row_function = qq{
	CREATE FUNCTION queue_row() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
	  IF TG_OP = 'DELETE' THEN
	    INSERT INTO removed_images (url)
	    SELECT url FROM unnest(OLD.images || (OLD.schema->>'imageUrl')) AS url
	    WHERE url LIKE '$ENDPOINT/%';
	  ELSIF OLD.images IS DISTINCT FROM NEW.images OR OLD.schema IS DISTINCT FROM NEW.schema THEN
	    INSERT INTO removed_images (url)
	    SELECT url FROM unnest(OLD.images || (OLD.schema->>'imageUrl')) AS url
	    WHERE url LIKE '$ENDPOINT/%'
	    EXCEPT
	    SELECT unnest(NEW.images || (NEW.schema->>'imageUrl'));
	  END IF;
	  RETURN NULL;
	END \$\$;
};

my $statement_functions = qq{
	CREATE FUNCTION queue_deleted() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
	  INSERT INTO removed_images (url)
	  SELECT url FROM old_rows CROSS JOIN LATERAL unnest(images || (schema->>'imageUrl')) AS url
	  WHERE url LIKE '$ENDPOINT/%';
	  RETURN NULL;
	END \$\$;

	CREATE FUNCTION queue_updated() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
	  INSERT INTO removed_images (url)
	  SELECT gone.url
	  FROM old_rows AS o JOIN new_rows AS n USING (id)
	  CROSS JOIN LATERAL (
	    SELECT url FROM unnest(o.images || (o.schema->>'imageUrl')) AS url
	    WHERE url LIKE '$ENDPOINT/%'
	    EXCEPT
	    SELECT unnest(n.images || (n.schema->>'imageUrl'))) AS gone
	  WHERE o.images IS DISTINCT FROM n.images OR o.schema IS DISTINCT FROM n.schema;
	  RETURN NULL;
	END \$\$;
};

my $captured_by_hand = 'SELECT url FROM removed_images';

# create: SQL for what it needs once. install: SQL that puts it on the filled table. captured: SQL for the URLs it has
# captured, if it captures at all. All with the variant's own schema first in the search path.
my @variants = (
	{ name => 'none', title => 'no trigger', create => '', install => '' },
	{ name => 'none_again', title => 'no trigger, again', create => '', install => '' },
	{
		name => 'ours',
		title => 'imagekit.watch()',
		create => '',
		# Capture alone: what the index for the check costs who writes is measured by bench/references.
		install => q{SELECT imagekit.watch('patches', '{images, schema.imageUrl}', create_index => false);},
		captured => 'SELECT u.url FROM imagekit.outbox AS o CROSS JOIN LATERAL imagekit.unpack(o.pack) AS u',
	},
	{
		name => 'plpgsql_row',
		title => 'PL/pgSQL, row',
		create => $create_outbox . $row_function,
		install => q{CREATE TRIGGER queue_row AFTER DELETE OR UPDATE ON patches
			FOR EACH ROW EXECUTE FUNCTION queue_row();},
		captured => $captured_by_hand,
	},
	{
		name => 'plpgsql_statement',
		title => 'PL/pgSQL, statement',
		create => $create_outbox . $statement_functions,
		install => q{
			CREATE TRIGGER queue_deleted AFTER DELETE ON patches REFERENCING OLD TABLE AS old_rows
			FOR EACH STATEMENT EXECUTE FUNCTION queue_deleted();
			CREATE TRIGGER queue_updated AFTER UPDATE ON patches REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
			FOR EACH STATEMENT EXECUTE FUNCTION queue_updated();},
		captured => $captured_by_hand,
	});

sub variants { return @variants; }

sub variant
{
	my ($name) = @_;
	my ($found) = grep { $_->{name} eq $name } @variants;
	return $found // die "no variant $name\n";
}

1;
