# A library and tables that use it, of any size, and what an audit of them must say.
#
# A file is a number, and its path says which. Of twenty files that come one after the other
#
#   the first     is used by nobody, ever
#   the second    is used by nobody, until traffic puts it into the table keepers, where it stays
#   the third     is used by nobody, and traffic removes it from the library, or overwrites it
#   the others    are used by a row of each table, where traffic moves them about or drops them
#
# Each row says in the column files, which nobody watches, what its URLs mean, and truth.log gets an entry for each file that a row
# gains or loses: when the entry's transaction committed says when that was so. The extension is never asked.

package ImageKit::AuditModel;

use strict;
use warnings;

use ImageKit::Test;

our @TABLES = qw(gallery docs pages parts single);
our $FRESH = 10_000_000;     # numbers of files that traffic uploads begin here
our $MISSING = 90_000_000;   # and of those that never are
our $ALIAS = 'https://img.acme.example';
my $folders = 100;
my $shuttles = 40;           # rows that go to and fro between two tables
my $dangling = 12;           # rows of each of two tables whose file never was

sub new { my ($class, $t, $files) = @_; return bless { t => $t, files => $files - $files % 20, blocks => int($files / 20) }, $class; }

sub blocks { return $_[0]{blocks}; }
sub path { my ($file) = @_; return $file < $FRESH ? sprintf '/bulk/d%04d/f%07d.jpg', $file % $folders, $file : sprintf '/new/f%08d.jpg', $file; }

# The files of a second in which an eighth of the library was created, as an import does it.
sub crowd { my ($self) = @_; my $count = int($self->{files} / 8); $count = 20_000 if $count > 20_000; return ($self->{files} - $count, $self->{files} - 1); }

sub create
{
	my ($self) = @_;
	my ($first, $last) = $self->crowd;
	my $imagekit = $self->{t}->imagekit;
	$imagekit->seed_many(prefix => '/bulk', folders => $folders, count => $first, createdAt => '2022-03-01T00:00:00.000Z', step_ms => 17_000);
	$imagekit->seed_many(prefix => '/bulk', folders => $folders, first => $first, count => $last - $first + 1,
		createdAt => '2024-03-01T00:00:00.000Z', step_ms => 900 / ($last - $first + 1));
	$self->{t}->sql($self->_tables . $self->_rows);
	return;
}

sub _tables
{
	my ($self) = @_;
	my $sql = qq{
		CREATE SCHEMA truth;
		CREATE TABLE truth.log (file int, delta int);
		CREATE FUNCTION truth.path(file int) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$
			SELECT CASE WHEN file >= $MISSING THEN format('/missing/f%s.jpg', file)
			            WHEN file >= $FRESH THEN format('/new/f%s.jpg', file)
			            ELSE format('/bulk/d%s/f%s.jpg', lpad((file % $folders)::text, 4, '0'), lpad(file::text, 7, '0')) END \$\$;
		CREATE FUNCTION truth.url(file int, style int) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$
			SELECT CASE abs(style) % 5 WHEN 0 THEN '$ENDPOINT' || truth.path(file)
			                           WHEN 1 THEN '$ENDPOINT/tr:w-100,h-50' || truth.path(file)
			                           WHEN 2 THEN '$ALIAS' || truth.path(file) || '?updatedAt=1700000000000'
			                           WHEN 3 THEN '$ENDPOINT' || replace(truth.path(file), 'f', '%66')
			                           ELSE '$ALIAS/tr:q-80' || truth.path(file) || '#top' END \$\$;
		CREATE FUNCTION truth.urls(files int[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS \$\$
			SELECT array_agg(truth.url(f, f + n::int) ORDER BY n) FROM unnest(files) WITH ORDINALITY AS u(f, n) \$\$;
		CREATE FUNCTION truth.doc(files int[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS \$\$
			SELECT jsonb_build_object('title', 'a document', 'images', to_jsonb(truth.urls(files))) \$\$;
		CREATE FUNCTION truth.html(files int[]) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$
			SELECT string_agg('<p>An image: <img src="' || truth.url(f, f + n::int) || '"></p>', E'\\n' ORDER BY n) FROM unnest(files) WITH ORDINALITY AS u(f, n) \$\$;
		CREATE FUNCTION truth.note() RETURNS trigger LANGUAGE plpgsql AS \$\$
			BEGIN
				IF TG_OP <> 'INSERT' THEN INSERT INTO truth.log SELECT unnest(OLD.files), -1; END IF;
				IF TG_OP <> 'DELETE' THEN INSERT INTO truth.log SELECT unnest(NEW.files), 1; END IF;
				RETURN NULL;
			END \$\$;

		CREATE TABLE gallery (id int PRIMARY KEY, files int[], images text[]);
		CREATE TABLE docs (id int PRIMARY KEY, files int[], body jsonb);
		CREATE TABLE pages (id int PRIMARY KEY, files int[], html text);
		CREATE TABLE parts (id int, region text, files int[], images text[], PRIMARY KEY (id, region)) PARTITION BY LIST (region);
		CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
		CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us');
		CREATE TABLE parts_asia PARTITION OF parts FOR VALUES IN ('asia') PARTITION BY HASH (id);
		CREATE TABLE parts_asia_0 PARTITION OF parts_asia FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE parts_asia_1 PARTITION OF parts_asia FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		CREATE TABLE single (id int PRIMARY KEY, files int[], url text);
		CREATE TABLE keepers (id int PRIMARY KEY, files int[], url text);
		CREATE TABLE shuttle_a (id int, files int[], url text);
		CREATE TABLE shuttle_b (LIKE shuttle_a);
		SELECT imagekit.unwatch('patches'), imagekit.unwatch('modules');
		DROP TABLE patches, modules;
	};
	return $sql;
}

# Watched once they are filled, and noted from then on; what they hold at first is noted as one.
sub _rows
{
	my ($self) = @_;
	my $block = "generate_series(0, $self->{blocks} - 1) AS k";
	my $sql = qq{
		INSERT INTO gallery SELECT k, f, truth.urls(f) FROM $block, LATERAL (SELECT ARRAY(SELECT generate_series(20 * k + 3, 20 * k + 9))) AS x(f);
		INSERT INTO docs SELECT k, f, truth.doc(f) FROM $block, LATERAL (SELECT ARRAY[20 * k + 10, 20 * k + 11, 20 * k + 12]) AS x(f);
		INSERT INTO pages SELECT k, f, truth.html(f) FROM $block, LATERAL (SELECT ARRAY[20 * k + 13, 20 * k + 14]) AS x(f);
		INSERT INTO parts SELECT k, (ARRAY['eu', 'us', 'asia'])[1 + k % 3], f, truth.urls(f) FROM $block, LATERAL (SELECT ARRAY(SELECT generate_series(20 * k + 15, 20 * k + 18))) AS x(f);
		INSERT INTO single SELECT k, f, truth.url(f[1], k) FROM $block, LATERAL (SELECT ARRAY[20 * k + 19]) AS x(f) WHERE k >= $shuttles;
		INSERT INTO shuttle_a SELECT k, f, truth.url(f[1], k) FROM $block, LATERAL (SELECT ARRAY[20 * k + 19]) AS x(f) WHERE k < $shuttles;
		INSERT INTO gallery SELECT -i, f, truth.urls(f) FROM generate_series(1, $dangling) AS i, LATERAL (SELECT ARRAY[$MISSING + i]) AS x(f);
		INSERT INTO docs SELECT -i, f, truth.doc(f) FROM generate_series(1, $dangling) AS i, LATERAL (SELECT ARRAY[$MISSING + 1000 + i]) AS x(f);
	};
	my @all = (@TABLES, qw(keepers shuttle_a shuttle_b));
	for my $table (@all)
	{
		$sql .= "INSERT INTO truth.log SELECT unnest(files), 1 FROM $table;\n";
		$sql .= "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON $table FOR EACH ROW EXECUTE FUNCTION truth.note();\n" unless $table =~ /shuttle/;
	}
	my %sources = (docs => 'body.images', pages => 'html', gallery => 'images', parts => 'images');
	$sql .= sprintf "SELECT imagekit.watch('%s', '{%s}');\n", $_, $sources{$_} // 'url' for @all;
	return $sql . 'ANALYZE; ' . join ' ', map { "SELECT imagekit.missing_index('$_') \\gexec\n" } @all;
}

# What must be true of a complete audit ----------------------------------------------------------------------------------

# Orphans that a committed row used at the moment at which the tables were read.
sub wrong_orphans
{
	my ($self) = @_;
	return split /\n/, $self->{t}->sql(q{
		WITH orphans AS (SELECT (regexp_match(path, 'f(\d+)\.jpg$'))[1]::int AS file, path, last_seen FROM imagekit.orphans),
		used AS (
			SELECT l.file, sum(l.delta) AS uses FROM truth.log l
			WHERE pg_xact_commit_timestamp(l.xmin) <= (SELECT max(last_seen) FROM orphans) GROUP BY l.file HAVING sum(l.delta) > 0)
		SELECT format('%s, seen %s, used by %s', o.path, o.last_seen, u.uses) FROM orphans o JOIN used u USING (file)});
}

# Files that came into use for good before half of the pages had been asked for, and are orphans all the same.
sub overtaken
{
	my ($self, $half) = @_;
	return split /\n/, $self->{t}->sql(qq{
		SELECT o.path FROM imagekit.orphans o JOIN keepers k ON k.files[1] = (regexp_match(o.path, 'f(\\d+)\\.jpg\$'))[1]::int
		WHERE pg_xact_commit_timestamp(k.xmin) < to_timestamp($half)});
}

# Files that nobody ever used, and that are not among the orphans; how many of them are.
sub lost
{
	my ($self) = @_;
	return split /\n/, $self->{t}->sql(qq{
		SELECT truth.path(20 * k) FROM generate_series(0, $self->{blocks} - 1) k EXCEPT SELECT path FROM imagekit.orphans});
}

sub dangling { my ($self) = @_; return $self->{t}->sql(q{SELECT string_agg(format('%s %s %s', relation, row_key, path), E'\n' ORDER BY relation::text, path) FROM imagekit.dangling}); }

sub expected_dangling
{
	return join "\n", map { my ($table, $first) = @$_; map { sprintf '%s -%d /missing/f%d.jpg', $table, $_, $MISSING + $first + $_ } 1 .. $dangling } [ docs => 1000 ], [ gallery => 0 ];
}

# Each file that a row uses is in the library: nothing else than the drain takes one away, and only when none does.
sub used_and_gone
{
	my ($self) = @_;
	my %there = map { $_ => 1 } map { /f(\d+)\.jpg$/ ? $1 + 0 : () } $self->{t}->imagekit->files(limit => 10_000_000);
	return grep { $_ < $MISSING && !$there{$_} } split /\n/, $self->{t}->sql('SELECT file FROM truth.log GROUP BY file HAVING sum(delta) > 0');
}

# What the views say, all of it.
sub views
{
	my ($self) = @_;
	return $self->{t}->sql(join ' UNION ALL ', map { "SELECT '$_', count(*), md5(coalesce(string_agg(v::text, E'\\n' ORDER BY v::text COLLATE \"C\"), '')) FROM imagekit.$_ v" }
		qw(orphans doubtful dangling storage storage_by_owner storage_by_table storage_by_folder));
}

1;
