# Rows that are hard to see for the look before a delete: not in the index yet, inserted or attached while tables are read, moved while
# another transaction is open.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { log_min_messages => 'debug1' });
my $imagekit = $t->imagekit;

sub last_error { my ($name) = @_; return $t->sql("SELECT last_error FROM imagekit.pending WHERE url LIKE '%/$name'"); }
sub outcome { my ($name) = @_; return $t->sql("SELECT outcome, detail FROM imagekit.history WHERE url LIKE '%/$name'"); }

# In the table and not in the index -----------------------------------------------------------------------------------------

# Its inserter waits in the primary key for a transaction that has the same, and so comes to the index later.
my ($first, $second) = map { $t->node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
for my $end ('ROLLBACK', 'COMMIT')
{
	my $name = lc "unique_$end.jpg";
	$first->query_safe('BEGIN');
	$first->query_safe('INSERT INTO modules VALUES (1, NULL)');
	$second->query_until(qr/asked/, "\\echo asked\nINSERT INTO modules VALUES (1, '{$ENDPOINT/$name}');\n");
	wait_for { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'") } 'the second waits';
	is($t->sql("SELECT count(*) FROM imagekit.references('$ENDPOINT/$name')"), 0, 'the index does not show the row');
	$t->insert(1, $name);
	$t->sql('DELETE FROM patches WHERE id = 1');
	eventually { last_error($name) } qr/^waits: a row of table "modules" may not be in its index yet: process \d+ is in the middle of a statement/, 'the file waits';
	stays { $t->files } "/$name", 'as long as the inserter does', 1;
	$first->query_safe($end);
	if ($end eq 'ROLLBACK') { eventually { outcome($name) } qr/^kept\|/, 'the row comes to be: kept'; }
	else { eventually { outcome($name) } 'deleted|', 'the row is refused: deleted'; }
	$second->query('SELECT 1');
	$second->{stderr} = '';    # the unique violation
	$t->sql('UPDATE modules SET images = NULL');
	eventually { $t->files . $t->pending } '0', 'and all is done';
	$t->sql('DELETE FROM modules');
}

# One that waits for a row lock inserts nothing that nobody sees.
$t->sql("INSERT INTO modules VALUES (2, NULL)");
$first->query_safe('BEGIN');
$first->query_safe('UPDATE modules SET images = NULL WHERE id = 2');
$second->query_until(qr/asked/, "\\echo asked\nUPDATE modules SET images = NULL WHERE id = 2;\n");
wait_for { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'") } 'the second waits for the row';
$t->insert(1, 'row_lock.jpg');
$t->sql('DELETE FROM patches WHERE id = 1');
eventually { outcome('row_lock.jpg') } 'deleted|', 'who waits for a row lock holds up nothing';
$first->query_safe('COMMIT');
$_->quit for $first, $second;

# While tables are read as a whole ------------------------------------------------------------------------------------------

$t->sql(q{
	DROP INDEX modules_images_idx;
	CREATE TABLE big (id int, body text) PARTITION BY RANGE (id);
	CREATE TABLE big_1 PARTITION OF big FOR VALUES FROM (0) TO (100000);
	CREATE TABLE big_2 PARTITION OF big FOR VALUES FROM (100000) TO (200000) PARTITION BY RANGE (id);
	CREATE TABLE big_2a PARTITION OF big_2 FOR VALUES FROM (100000) TO (150000);
	CREATE TABLE late (id int, body text);
	CREATE UNLOGGED TABLE quick (id int, body text);
	INSERT INTO big SELECT i, (SELECT string_agg(format('https://ik.imagekit.io/acme/filler/%s/%s/x.jpg', i, j), ' ') FROM generate_series(1, 40) j) FROM generate_series(1, 60000) i;
	SELECT imagekit.watch('big', '{body}', create_index => false);
	SELECT imagekit.watch('quick', '{body}', create_index => false)});

# Removes an image and runs SQL in the middle of the look.
sub during_the_look
{
	my ($name, $sql) = @_;
	$t->insert(1, $name);
	$t->mark_log;
	$t->sql('DELETE FROM patches WHERE id = 1');
	# Stopped on its way through the big table, which takes some tenths of a second, and not in another, where it would have a lock.
	my $worker;
	wait_for { $t->log =~ /\[(\d+)\].* asks watched tables/ and $worker = $1 } 'the look has begun';
	my $locks = "SELECT string_agg(relation::regclass::text, ' ' ORDER BY 1) FROM pg_locks WHERE pid = $worker AND relation IN ('modules'::regclass, 'big_1'::regclass)";
	wait_for { $t->sql($locks) eq 'big_1' } 'the look has come to the big table';
	kill 'STOP', $worker;
	unlike($t->log, qr/(?:deleted ImageKit file|still used)/, 'it is under way');
	die 'it has left the big table again' if $t->sql($locks) ne 'big_1' && kill 'CONT', $worker;
	$t->sql($sql =~ s/IMAGE/$ENDPOINT\/$name/gr);
	kill 'CONT', $worker;
	wait_for { outcome($name) ne '' } "$name is settled", 60;
	return outcome($name);
}
like(during_the_look('stored_anew.jpg', "BEGIN; TRUNCATE modules; INSERT INTO modules VALUES (5, '{IMAGE}'); COMMIT"), qr/^kept\|still used by public\.modules/, 'a row in a table that was emptied and filled');
like(during_the_look('before.jpg', "INSERT INTO modules VALUES (3, '{IMAGE}')"), qr/^kept\|still used by public\.modules/, 'a row in a table that was read before');
like(during_the_look('early.jpg', "INSERT INTO big VALUES (1, 'IMAGE')"), qr/^kept\|still used by public\.big/, 'a row in the table that is being read');
like(during_the_look('unlogged.jpg', "INSERT INTO quick VALUES (1, 'IMAGE')"), qr/^kept\|still used by public\.quick/, 'a row in an unlogged table');
like(during_the_look('indexed.jpg', "INSERT INTO patches VALUES (4, '{IMAGE}')"), qr/^kept\|still used by public\.patches/, 'a row in a table that has its index');
$t->sql("INSERT INTO late VALUES (150001, '$ENDPOINT/attached.jpg')");
my $attached = during_the_look('attached.jpg', 'ALTER TABLE big_2 ATTACH PARTITION late FOR VALUES FROM (150000) TO (200000)');
like($attached, qr/^kept\|still used by public\.big/, 'a row of a partition that was attached');
is(during_the_look('unused.jpg', "INSERT INTO modules VALUES (6, '{IMAGE.other}')"), 'deleted|', 'and what nobody uses goes');

# Moved, and an open transaction --------------------------------------------------------------------------------------------

my $moves = 105;    # more than one look takes
$t->sql(q{
	CREATE TABLE parts (id int, region text, images text[]) PARTITION BY LIST (region);
	CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
	CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
	DROP TABLE big;
	DELETE FROM modules;
	SELECT imagekit.watch('parts', '{images}')});
$imagekit->seed('/lost.jpg', map { "/moved$_.jpg" } 1 .. $moves);
$t->sql("INSERT INTO parts SELECT i, 'a', ARRAY['$ENDPOINT/moved' || i || '.jpg'] FROM generate_series(1, $moves) i; INSERT INTO parts VALUES (1000, 'a', '{$ENDPOINT/lost.jpg}')");
my $open = $t->node->background_psql('postgres');
$open->query_safe('BEGIN');
$open->query_safe('INSERT INTO modules SELECT id, images FROM parts WHERE id < 1000');
$t->sql(join(';', map { "UPDATE parts SET region = 'b', images = NULL WHERE id = $_" } 1 .. $moves));
$t->sql("UPDATE parts SET region = 'b', images = '{}' WHERE id = 1000");
eventually { outcome('lost.jpg') } 'deleted|', 'moves that cannot be decided do not hold up others', 40;
is($imagekit->count(prefix => '/moved'), $moves, 'whose files wait');
$open->query_safe('ROLLBACK');
eventually { $imagekit->count(prefix => '/moved') } 0, 'until it is known', 40;
$open->quit;

# Two rows that name the file differently -----------------------------------------------------------------------------------

$t->sql(q{CREATE TABLE pics (id int PRIMARY KEY, url text, file_id text); SELECT imagekit.watch('pics', '{url:file_id}')});
my ($file_id) = $imagekit->seed('/named.jpg');
$t->sql("INSERT INTO pics VALUES (1, '$ENDPOINT/named.jpg', '$file_id'), (2, '$ENDPOINT/named.jpg', 'aaaaaaaaaaaaaaaaaaaaaaaa'), (3, '$ENDPOINT/named.jpg', NULL)");
$t->sql('BEGIN; DELETE FROM pics WHERE id = 1; DELETE FROM pics; COMMIT');
eventually { $t->pending } 0, 'settled';
is($t->files(prefix => '/named'), '', 'each row is judged by the fileId that it named');

# An answer that was lost -----------------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'reset_after', method => 'DELETE', count => 0);
$imagekit->fault(kind => 'stall', method => 'GET', skip => 1, count => 1);
$t->insert(9, 'doubt.jpg');
$t->sql('DELETE FROM patches WHERE id = 9');
wait_for { $imagekit->stalled } 'nobody knows, and the file is looked up again';
$t->sql("INSERT INTO patches VALUES (10, '{$ENDPOINT/doubt.jpg}')");
$imagekit->release;
eventually { outcome('doubt.jpg') } 'not_found|while it was deleted, table public.patches came to use it, source images', 'a row that comes to use a file in the meantime is told';

done_testing();
