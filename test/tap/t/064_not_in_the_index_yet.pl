# A row comes to the table first and to its indexes one after the other. Where an earlier index is slow, or another transaction has
# the same unique key, it is in the table for long before it is in ours: its file waits, and is kept once it is committed.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
$t->sql(q{CREATE TABLE posts (id int, body text);
	CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN $1; END $$;
	CREATE INDEX ON posts (slow(id))});
$t->sql(q{SELECT imagekit.watch('posts', '{body}')});
$t->sql(q{CREATE TABLE quiet (id int)});

my $rows = PostgreSQL::Test::Utils::tempdir() . '/rows';
my $id = 0;
for my $how ('INSERT', 'COPY', 'UPDATE')
{
	my $name = lc($how) . '.jpg';
	my $url = "$ENDPOINT/$name";
	$t->insert(++$id, $name);
	$t->sql("COPY (SELECT $id, '$url') TO '$rows$id'");
	my $gate = $t->node->background_psql('postgres');
	my $writer = $t->node->background_psql('postgres');
	$writer->query_safe("INSERT INTO posts VALUES ($id, 'nothing')") if $how eq 'UPDATE';
	$gate->query_safe('BEGIN; SELECT pg_advisory_xact_lock(7)');
	$writer->query_safe('BEGIN');
	my %statement = (INSERT => "INSERT INTO posts VALUES ($id, '$url')", COPY => "COPY posts FROM '$rows$id'",
		UPDATE => "UPDATE posts SET body = '$url' WHERE id = $id");
	$writer->query_until(qr/begun/, "\\echo begun\n$statement{$how};\n\\echo done\n");
	wait_for { $t->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}) } "$how: the row is in the table, and not in the index";
	my $before = $t->sql('SELECT count(*) FROM imagekit.history');
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE last_error IS NOT NULL}) } "$how: the file waits";
	like($t->sql('SELECT last_error FROM imagekit.pending'),
		qr/^waits: a row of table "posts" may not be in its index yet: process \d+ is in the middle of a statement$/, "$how: for whom");
	$gate->query_safe('COMMIT');
	$gate->quit;
	$writer->query_until(qr/done/, '');
	$writer->query_safe('COMMIT');
	$writer->quit;
	eventually { $t->pending } 0, "$how: settled after the commit", 60;
	is($t->sql('SELECT outcome, detail FROM imagekit.history ORDER BY id DESC LIMIT 1'), 'kept|still used by public.posts, source body', "$how: and kept");
	is($t->files(prefix => "/$name"), "/$name", "$how: the file is there");
}

# Who has written, and is idle or reads, keeps nobody waiting; nor does who writes to another table.
$t->insert(++$id, 'idle.jpg');
my $idle = $t->node->background_psql('postgres');
$idle->query_safe("BEGIN; INSERT INTO modules VALUES ($id, '{}')");
my $elsewhere = $t->node->background_psql('postgres');
my $gate = $t->node->background_psql('postgres');
$gate->query_safe('BEGIN; SELECT pg_advisory_xact_lock(8)');
$elsewhere->query_until(qr/begun/, "\\echo begun\nINSERT INTO quiet SELECT 1 FROM pg_advisory_xact_lock_shared(8);\n\\echo done\n");
$t->sql("DELETE FROM patches WHERE id = $id");
eventually { $t->files(prefix => '/idle') } '', 'an idle transaction, and a statement elsewhere, keep nobody waiting', 5;
$gate->query_safe('COMMIT');
$elsewhere->query_until(qr/done/, '');
$idle->query_safe('COMMIT');
$_->quit for $gate, $elsewhere, $idle;

done_testing();
