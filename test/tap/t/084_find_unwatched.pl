# Columns that hold URLs and are not watched are found: whatever the rows look like and whoever owns the table, without running
# anything of his, without waiting for anybody, and without holding anybody up.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new(settings => { shared_buffers => '16MB', max_prepared_transactions => 2, autovacuum => 'off' });
my $node = $t->node;
$t->imagekit->seed('/x.jpg');

# "relation.column rows", of all that is found.
sub found
{
	my ($arguments, $db) = @_;
	$arguments //= '';
	return $t->sql("SELECT coalesce(string_agg(format('%s.%s %s%s', relation, \"column\", rows_with_urls, CASE WHEN waived THEN ' waived' ELSE '' END),
		', ' ORDER BY relation::text, \"column\"), 'nothing') FROM imagekit.find_unwatched($arguments)", $db);
}
sub refusals { my ($db) = @_; return $t->sql('SELECT imagekit.unwatched_refusals()', $db); }

is(found(), 'nothing', 'a database whose tables hold no URL');

# Types of extensions, and values that are stored apart -------------------------------------------------------------------

$t->sql(qq{
	CREATE EXTENSION hstore; CREATE EXTENSION citext;
	CREATE TABLE odd (folded citext, pairs hstore, many citext[]);
	INSERT INTO odd VALUES ('$ENDPOINT/a.jpg', hstore('image', '$ENDPOINT/b.jpg'), '{$ENDPOINT/c.jpg}');
	CREATE TABLE stored (compressed text, external text, deep jsonb);
	ALTER TABLE stored ALTER external SET STORAGE external;
	INSERT INTO stored
	SELECT repeat('x', 1000000) || ' $ENDPOINT/a.jpg', string_agg(md5(i::text), '') || ' $ENDPOINT/b.jpg',
	       jsonb_build_object('noise', array_agg(md5(i::text)), 'image', '$ENDPOINT/c.jpg')
	FROM generate_series(1, 20000) i});
is(found(), 'odd.folded 1, odd.many 1, odd.pairs 1, stored.compressed 1, stored.deep 1, stored.external 1', 'citext, hstore, and values in TOAST');
like($t->sql(q{SELECT problem FROM imagekit.find_unwatched() WHERE "column" = 'deep'}), qr/^not watched \(at image\)$/, 'with the key');
$t->sql('DROP TABLE odd, stored');

# A table of somebody else, with row security and traps in its index, its statistics and its policies ------------------------------

$t->sql(qq{
	CREATE ROLE owner; GRANT CREATE ON SCHEMA public TO owner;
	SET ROLE owner;
	CREATE SEQUENCE sprung;
	CREATE FUNCTION trap(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM nextval(''public.sprung''); RETURN \$1; END';
	CREATE TABLE hidden (id int, image text, checked text CHECK (trap(checked) <> ''));
	INSERT INTO hidden SELECT i, '$ENDPOINT/' || i || '.jpg', 'x' FROM generate_series(1, 100) i;
	CREATE INDEX trapped ON hidden (trap(image)) WHERE trap(checked) <> '';
	CREATE STATISTICS trapped_too ON (trap(image)), (trap(checked)) FROM hidden;
	ANALYZE hidden;
	ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; ALTER TABLE hidden FORCE ROW LEVEL SECURITY;
	CREATE POLICY none ON hidden USING (trap(image) IS NULL)});
my $sprung = $t->sql('SELECT last_value FROM sprung');
is(found(), 'hidden.image 100', 'rows behind a policy');
is(found('NULL'), 'hidden.image 100', 'likewise');
$t->sql('CALL imagekit.search_unwatched()');
like(refusals(), qr/^column image of table public\.hidden: not watched; found in 100 rows, such as \Q$ENDPOINT\E\/1\.jpg\. Run SELECT imagekit\.watch\('public\.hidden', '\{image\}'\);$/,
	'and the owner\'s other session is told what to do');
is($t->sql('SELECT last_value FROM sprung'), $sprung, 'nothing that its owner wrote has run');
$t->sql('DROP TABLE hidden');

# Rows that are not committed, and rows that are gone ----------------------------------------------------------------------------

$t->sql('CREATE TABLE moving (id int, image text)');
my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; INSERT INTO moving VALUES (1, '$ENDPOINT/1.jpg')");
is(found(), 'moving.image 1', 'a row that is not committed');
$writer->query_safe("ROLLBACK; BEGIN; INSERT INTO moving VALUES (2, '$ENDPOINT/2.jpg'); PREPARE TRANSACTION 'p'");
is(found('NULL'), 'moving.image 1', 'one of a prepared transaction, and none that was rolled back');
$t->sql("COMMIT PREPARED 'p'");
$writer->query_safe('BEGIN; DELETE FROM moving');
is(found(), 'moving.image 1', 'a row whose deletion is not committed');
$writer->query_safe('COMMIT');
is(found(), 'nothing', 'and is gone with it');
$writer->query_safe("CREATE TEMP TABLE mine AS SELECT '$ENDPOINT/mine.jpg'::text AS image");
is(found(), 'nothing', 'a temporary table of another session is not looked at');
$writer->quit;

# A sample, and all --------------------------------------------------------------------------------------------------------------

$t->sql(qq{
	CREATE TABLE large (id int, note text) WITH (fillfactor = 10);
	INSERT INTO large SELECT i, repeat('x', 500) FROM generate_series(1, 2000) i;
	UPDATE large SET note = '$ENDPOINT/rare.jpg' WHERE id = 1000});
my $pages = $t->sql(q{SELECT pg_relation_size('large') / 8192});
cmp_ok($pages, '>', 500, 'a table of many pages');
is(found('NULL'), 'large.note 1', 'one row of thousands, when all is read');
is(found($pages), 'large.note 1', 'or as many pages as there are');
is($t->sql("SELECT searched, rows_searched FROM imagekit.find_unwatched($pages)"), 'all|2000', 'which is all');
$t->sql(q{UPDATE large SET note = '} . $ENDPOINT . q{/' || id || '.jpg'});
is($t->sql('SELECT searched, rows_searched BETWEEN 10 AND 500 AND rows_with_urls <= rows_searched FROM imagekit.find_unwatched(20)'), 'sample|t', 'a sample reads no more than it was told');
$t->sql('DROP TABLE large');

# Nobody is waited for for ever -----------------------------------------------------------------------------------------------

$t->sql(qq{CREATE TABLE locked (image text); INSERT INTO locked VALUES ('$ENDPOINT/l.jpg'); CREATE TABLE free (image text); INSERT INTO free VALUES ('$ENDPOINT/f.jpg')});
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE locked');
is($t->sql('SELECT relation, "column", searched, problem, statement IS NULL FROM imagekit.find_unwatched() ORDER BY relation::text'),
	"free|image|all|not watched|f\nlocked||not searched|cannot be searched: it is locked by another session|t", 'a locked table is passed by, and said');
$t->sql('CALL imagekit.search_unwatched()');
like(refusals(), qr/^table public\.locked could not be searched for URLs: it is locked by another session\. Run SELECT imagekit\.scan_unwatched\('public\.locked'\);$/m, 'and keeps orphans from being deleted');
$locker->query_safe('ROLLBACK');
is($t->sql(q{SELECT imagekit.scan_unwatched('locked')}), '1', 'until it is searched');
unlike(refusals(), qr/locked by/, 'with success');
$locker->query_safe('BEGIN; LOCK TABLE locked');
is($t->sql(q{SELECT imagekit.scan_unwatched('locked') IS NULL}), 't', 'a search that fails');
like(refusals(), qr/^column image of table public\.locked: not watched/m, 'takes nothing back of what an earlier one found');
$locker->query_safe('ROLLBACK');

# Many of them: long enough for a word about how far it is.
$t->sql(join('', map { "CREATE TABLE held_$_ (image text);" } 1 .. 12));
$locker->query_safe('BEGIN; LOCK TABLE ' . join(', ', map { "held_$_" } 1 .. 12));
like($t->messages('CALL imagekit.search_unwatched()'), qr/NOTICE:  searched \d+ of \d+ tables for image URLs/, 'a long search says how far it has come');
$locker->query_safe('ROLLBACK');
$t->sql(join('', map { "DROP TABLE held_$_;" } 1 .. 12));

# Each table is committed: what a search that is cut short has found is kept. One waits in the middle, on a row of ours.
$t->sql('TRUNCATE imagekit.searched_tables, imagekit.url_columns');
$t->sql(q{INSERT INTO locked SELECT repeat('x', 100) FROM generate_series(1, 1000); ANALYZE locked});    # the last one, by size
$locker->query_safe(q{BEGIN; INSERT INTO imagekit.searched_tables (relation, tried_at) VALUES ('locked'::regclass, now())});
my $searcher = $node->background_psql('postgres', on_error_stop => 0);
$searcher->query_until(qr/begun/, "\\echo begun\nCALL imagekit.search_unwatched();\n");
eventually { $t->sql(q{SELECT relation::regclass FROM imagekit.searched_tables WHERE relation = 'free'::regclass AND searched_at IS NOT NULL}) } 'free', 'what is searched is committed, table by table';
is($t->sql(q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.query LIKE 'CALL%' AND l.relation = 'free'::regclass}), 0, 'and its lock is gone');
$t->sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL%'});
eventually { $t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND state = 'active'}) } 0, 'a cancel ends it';
$locker->query_safe('ROLLBACK');
$locker->quit;
$searcher->quit;
like(refusals(), qr/^never searched for URLs: public\.locked\. Run CALL imagekit\.search_unwatched\(\);$/m, 'what it did not come to is said');
$t->sql('DROP TABLE locked, free, moving');

# A million rows ------------------------------------------------------------------------------------------------------------------

$t->sql(qq{
	CREATE TABLE million (id int, image text, doc jsonb);
	INSERT INTO million SELECT i, '$ENDPOINT/' || i || '.jpg', jsonb_build_object('a', jsonb_build_array('$ENDPOINT/' || i || '.jpg')) FROM generate_series(1, 1000000) i});
my $peak = q{SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+)'))[1]::int};
my ($before, $rows, $after) = split /\n/, $t->sql("$peak; SELECT sum(rows_with_urls) FROM imagekit.find_unwatched(NULL); $peak");
is($rows, 2000000, 'a million rows are searched');
cmp_ok($after - $before, '<', 60 * 1024, sprintf('in %d MB of memory, shared buffers and all', ($after - $before) / 1024));

# A cancel in the middle of one table.
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query_until(qr/begun/, "\\echo begun\nSELECT imagekit.find_unwatched(NULL);\n");
wait_for { $t->sql(q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.query LIKE 'SELECT imagekit.find%' AND l.relation = 'million'::regclass}) } 'the table is being read';
$t->mark_log;
$t->sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT imagekit.find%'});
eventually { $t->log } qr/canceling statement due to user request/, 'a cancel is obeyed while a table is read', 5;
eventually { $t->sql(q{SELECT count(*) FROM pg_locks WHERE relation = 'million'::regclass AND pid <> pg_backend_pid()}) } 0, 'and lets it go';
$reader->quit;
$t->sql('DROP TABLE million');

# Waivers through a dump ----------------------------------------------------------------------------------------------------------

$t->sql(qq{
	CREATE SCHEMA "My Shop";
	CREATE TABLE "My Shop"."Odd.Table" (gone text, "a b" text, decoy text, renamed text);
	ALTER TABLE "My Shop"."Odd.Table" DROP COLUMN gone;
	INSERT INTO "My Shop"."Odd.Table" VALUES ('$ENDPOINT/1.jpg', '$ENDPOINT/2.jpg', '$ENDPOINT/3.jpg');
	SELECT imagekit.waive('"My Shop"."Odd.Table"', 'a b', 'a draft''s'), imagekit.waive('"My Shop"."Odd.Table"', 'renamed', 'renamed');
	ALTER TABLE "My Shop"."Odd.Table" RENAME renamed TO other;
	ALTER TABLE "My Shop"."Odd.Table" RENAME decoy TO renamed;
	CREATE MATERIALIZED VIEW copy AS SELECT "a b" FROM "My Shop"."Odd.Table";
	SELECT imagekit.waive('copy', 'a b', 'a copy');
	CALL imagekit.search_unwatched()});
my $waived = 'copy.a b 1 waived, "My Shop"."Odd.Table".a b 1 waived, "My Shop"."Odd.Table".other 1, "My Shop"."Odd.Table".renamed 1';
is(join(', ', sort split /, /, found()), join(', ', sort split /, /, $waived), 'a waiver is for the column, not for its name');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'a dump');
$t->sql('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'is restored');
is(join(', ', sort split /, /, found('2000', 'restored')), join(', ', sort split /, /, $waived), 'with its waivers, and none for another column');
is($t->sql(q{SELECT reason, waived_by = session_user FROM imagekit.waivers ORDER BY 1}, 'restored'), "a copy|t\na draft's|t", 'who and why are kept');
is(refusals('restored'), 'the database was never searched for URLs in columns that are not watched: CALL imagekit.search_unwatched();', 'nothing is taken for searched');
# Known by number from the first search on.
$t->sql('CALL imagekit.search_unwatched()', 'restored');
$t->sql('ALTER TABLE "My Shop"."Odd.Table" RENAME "a b" TO was; ALTER TABLE "My Shop"."Odd.Table" RENAME renamed TO "a b"', 'restored');
unlike(found('2000', 'restored'), qr/Odd\.Table"\.a b 1 waived/, 'and a column that comes to have the name is not waived there either');

done_testing();
