# A URL that leaves a row and is in another, or the same one, when the transaction commits has not been removed: its file stays.
# And it goes when the last row that uses it goes.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { max_prepared_transactions => 5 });
my $imagekit = $t->imagekit;
$t->sql(q{
	CREATE TABLE parts (id int, region text, images text[], note text) PARTITION BY LIST (region);
	CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
	CREATE TABLE parts_us (note text, images text[], gone int, region text, id int);
	ALTER TABLE parts_us DROP COLUMN gone;
	ALTER TABLE parts ATTACH PARTITION parts_us FOR VALUES IN ('us');
	CREATE TABLE parts_asia PARTITION OF parts FOR VALUES IN ('asia') PARTITION BY RANGE (id);
	CREATE TABLE parts_asia_low PARTITION OF parts_asia FOR VALUES FROM (0) TO (1000);
	CREATE TABLE parts_asia_high PARTITION OF parts_asia FOR VALUES FROM (1000) TO (2000);
	SELECT imagekit.watch('parts', '{images}');
	CREATE TABLE texts (id int PRIMARY KEY, body text);
	SELECT imagekit.watch('texts', '{body}')});

# Nothing waits any more, not even a row of the journal that nobody else is shown.
sub unsettled { return $t->sql('SELECT (SELECT count(*) FROM imagekit.outbox) + (SELECT count(*) FROM imagekit.backlog) + (SELECT count(*) FROM imagekit.claims)'); }

# "outcome name" of a case's files, settled since the last call.
my $last_id = 0;
sub outcomes
{
	my $outcomes = $t->sql(qq{SELECT string_agg(outcome || ' ' || regexp_replace(url, '.*/', ''), ', ' ORDER BY url, id) FROM imagekit.history WHERE id > $last_id});
	$last_id = $t->sql('SELECT coalesce(max(id), 0) FROM imagekit.history');
	return $outcomes;
}

sub image { return "$ENDPOINT/$_[0]"; }
my $case = 0;

# Runs SQL on images of their own, a.jpg and b.jpg below the case's folder, and waits until the worker has looked at what came of it.
sub run_case
{
	my ($sql) = @_;
	$case++;
	$imagekit->seed(map { "/$case/$_.jpg" } qw(a b));
	$sql =~ s{\b([ab])\.jpg}{$ENDPOINT/$case/$1.jpg}g;
	$sql =~ s{tr:([ab])}{$ENDPOINT/tr:w-100/$case/$1.jpg?updatedAt=5}g;
	$t->sql($sql =~ s/\bID\b/$case/gr);
	wait_for { unsettled() == 0 } "case $case is settled";
	return;
}

# Both images are there afterwards. Most cases leave a review ('kept') in the history, which is right; those of NO_TRACE must not even
# look like a removal.
sub both_stay
{
	my ($name, $sql, %options) = @_;
	run_case($sql);
	is($t->files(prefix => "/$case/"), "/$case/a.jpg /$case/b.jpg", $name);
	my $outcomes = outcomes();
	if ($options{no_trace}) { is($outcomes, '', "$name: no trace of it in the history"); }
	else { like($outcomes, qr/^(?:kept \S+(?:, kept \S+)*)?$/, "$name: nothing but 'kept' in the history"); }
	return;
}

my $row = q{INSERT INTO patches VALUES (ID, '{a.jpg,b.jpg}')};

# Put back ----------------------------------------------------------------------------------------------------------------

both_stay('DELETE and INSERT of the same row', "$row; BEGIN; DELETE FROM patches WHERE id = ID; $row; COMMIT");
both_stay('DELETE and INSERT under another spelling',
	"$row; BEGIN; DELETE FROM patches WHERE id = ID; INSERT INTO patches VALUES (ID, '{tr:a}', '{\"imageUrl\": \"tr:b\"}'); COMMIT");
both_stay('DELETE, and an INSERT in a subtransaction that is released',
	"$row; BEGIN; DELETE FROM patches WHERE id = ID; SAVEPOINT s; $row; RELEASE s; COMMIT");
both_stay('DELETE and INSERT in a function with exception blocks', "$row;" . q{
	DO $$
	BEGIN
		BEGIN DELETE FROM patches WHERE id = ID; END;
		BEGIN INSERT INTO patches VALUES (ID, '{a.jpg}'); EXCEPTION WHEN others THEN RAISE; END;
		BEGIN INSERT INTO patches VALUES (ID, NULL); EXCEPTION WHEN unique_violation THEN UPDATE patches SET images = images || 'b.jpg'::text WHERE id = ID; END;
	END $$});
both_stay('DELETE and INSERT, prepared', "$row; BEGIN; DELETE FROM patches WHERE id = ID; $row; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'");
both_stay('UPDATE away and back', "$row; BEGIN; UPDATE patches SET images = NULL WHERE id = ID; UPDATE patches SET images = '{b.jpg,a.jpg}' WHERE id = ID; COMMIT");
both_stay('a swap between two rows in one UPDATE', qq{INSERT INTO patches VALUES (ID * 1000, '{a.jpg}'), (ID * 1000 + 1, '{b.jpg}');
	UPDATE patches SET images = CASE id WHEN ID * 1000 THEN '{b.jpg}' ELSE '{a.jpg}' END::text[] WHERE id IN (ID * 1000, ID * 1000 + 1)});
both_stay('a swap between two rows in two UPDATEs', qq{INSERT INTO patches VALUES (ID * 1000, '{a.jpg}'), (ID * 1000 + 1, '{b.jpg}');
	BEGIN; UPDATE patches SET images = '{b.jpg}' WHERE id = ID * 1000; UPDATE patches SET images = '{a.jpg}' WHERE id = ID * 1000 + 1; COMMIT});
both_stay('moved to another watched table in one statement',
	"$row; WITH gone AS (DELETE FROM patches WHERE id = ID RETURNING id, images) INSERT INTO modules SELECT * FROM gone");
both_stay('moved to another watched table as part of a text',
	"$row; BEGIN; DELETE FROM patches WHERE id = ID; INSERT INTO texts VALUES (ID, '<img src=\"a.jpg\"> and ![x](tr:b)'); COMMIT");
both_stay('moved from a column to another of another row',
	"$row; BEGIN; UPDATE patches SET images = '{a.jpg}' WHERE id = ID; INSERT INTO patches VALUES (ID * 1000, NULL, '{\"imageUrl\": \"b.jpg\"}'); COMMIT");
both_stay('TRUNCATE and INSERT', "INSERT INTO texts VALUES (ID, 'a.jpg'), (ID * 1000, 'b.jpg'); CREATE TEMP TABLE t AS TABLE texts; BEGIN; TRUNCATE texts; INSERT INTO texts TABLE t; COMMIT");
both_stay('MERGE that deletes and inserts', "INSERT INTO texts VALUES (ID, 'a.jpg b.jpg');" . q{
	MERGE INTO texts USING (VALUES (ID), (ID * 1000)) v (id) ON texts.id = v.id
	WHEN MATCHED THEN DELETE
	WHEN NOT MATCHED THEN INSERT VALUES (v.id, '<a href="b.jpg">b</a><a href="a.jpg">a</a>')});

# Between partitions --------------------------------------------------------------------------------------------------------

my $part = q{INSERT INTO parts VALUES (ID, 'eu', '{a.jpg,b.jpg}')};
both_stay('a row that moves to another partition', "$part; UPDATE parts SET region = 'us' WHERE id = ID", no_trace => 1);
both_stay('to a partition of a partition, and on to the next',
	"$part; BEGIN; UPDATE parts SET region = 'asia' WHERE id = ID; UPDATE parts SET id = ID + 1000 WHERE id = ID; COMMIT", no_trace => 1);
both_stay('there and back', "$part; BEGIN; UPDATE parts SET region = 'us' WHERE id = ID; UPDATE parts SET region = 'eu' WHERE id = ID; COMMIT", no_trace => 1);
both_stay('with other changes, and other spellings', "$part; UPDATE parts SET region = 'us', note = 'x', images = '{tr:b,a.jpg,tr:a}' WHERE id = ID", no_trace => 1);
both_stay('moved by MERGE', "$part; MERGE INTO parts USING (VALUES (ID)) v (id) ON parts.id = v.id WHEN MATCHED THEN UPDATE SET region = 'asia'", no_trace => 1);
both_stay('moved in a subtransaction that is rolled back, and again',
	"$part; BEGIN; SAVEPOINT s; UPDATE parts SET region = 'us', images = '{a.jpg}' WHERE id = ID; ROLLBACK TO s; UPDATE parts SET region = 'asia' WHERE id = ID; COMMIT", no_trace => 1);
both_stay('moved, and an image that another row of another table has taken over',
	"$part; BEGIN; UPDATE parts SET region = 'us', images = '{b.jpg}' WHERE id = ID; INSERT INTO texts VALUES (ID, 'a.jpg'); COMMIT");
both_stay('moved by DELETE and INSERT', "$part; WITH gone AS (DELETE FROM parts WHERE id = ID RETURNING *) INSERT INTO parts SELECT id, 'us', images FROM gone");

# What is really removed -----------------------------------------------------------------------------------------------------

# a.jpg goes, b.jpg stays.
sub only_b_stays
{
	my ($name, $sql) = @_;
	run_case($sql);
	is($t->files(prefix => "/$case/"), "/$case/b.jpg", $name);
	like(outcomes(), qr/^(?:kept [^,]*b\.jpg\S*, )*deleted a\.jpg\S*(?:, kept [^,]*b\.jpg\S*)*$/, "$name: it is deleted once");
	return;
}

only_b_stays('an image that leaves the row in the UPDATE that moves it', "$part; UPDATE parts SET region = 'us', images = '{b.jpg}' WHERE id = ID");
is($t->sql('SELECT relation FROM imagekit.history ORDER BY id DESC LIMIT 1'), 'public.parts', 'the history names the watched table');
only_b_stays('that leaves it in a move by way of two partitions',
	"$part; BEGIN; UPDATE parts SET region = 'us' WHERE id = ID; UPDATE parts SET region = 'asia', images = '{tr:b}' WHERE id = ID; COMMIT");
only_b_stays('that leaves it after the move', "$part; BEGIN; UPDATE parts SET region = 'us' WHERE id = ID; UPDATE parts SET images = '{b.jpg}' WHERE id = ID; COMMIT");
only_b_stays('that leaves it before the move', "$part; BEGIN; UPDATE parts SET images = '{b.jpg}' WHERE id = ID; UPDATE parts SET region = 'us' WHERE id = ID; COMMIT");
only_b_stays('that leaves it in a move by MERGE',
	"$part; MERGE INTO parts USING (VALUES (ID)) v (id) ON parts.id = v.id WHEN MATCHED THEN UPDATE SET region = 'asia', images = '{b.jpg}'");
only_b_stays('that leaves it in a move that is prepared', "$part; BEGIN; UPDATE parts SET region = 'us', images = '{b.jpg}' WHERE id = ID; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'");
only_b_stays('that leaves it in a move within a subtransaction', "$part; BEGIN; SAVEPOINT s; UPDATE parts SET region = 'us', images = '{b.jpg}' WHERE id = ID; RELEASE s; COMMIT");
only_b_stays('whose putting back is rolled back',
	"$row; BEGIN; DELETE FROM patches WHERE id = ID; INSERT INTO modules VALUES (ID, '{b.jpg}'); SAVEPOINT s; INSERT INTO modules VALUES (ID * 1000, '{a.jpg}'); ROLLBACK TO s; COMMIT");
only_b_stays('that is put back and taken away again',
	"$row; BEGIN; DELETE FROM patches WHERE id = ID; $row; UPDATE patches SET images = '{b.jpg}' WHERE id = ID; COMMIT");
only_b_stays('that is taken away with the row just moved, while another row has the other one',
	"$part; INSERT INTO texts VALUES (ID, 'see tr:b'); BEGIN; UPDATE parts SET region = 'us' WHERE id = ID; DELETE FROM parts WHERE id = ID; COMMIT");
only_b_stays('of two rows that move, one of which loses it',
	"$part; INSERT INTO parts VALUES (ID, 'asia', '{b.jpg}'); UPDATE parts SET region = CASE region WHEN 'eu' THEN 'us' ELSE 'eu' END, images = '{b.jpg}' WHERE id = ID");

$t->sql("BEGIN; UPDATE parts SET region = CASE region WHEN 'us' THEN 'eu' ELSE 'us' END, images = NULL; ROLLBACK");
wait_for { unsettled() == 0 } 'nothing waits';
is(outcomes(), '', 'a move that is rolled back leaves nothing to look at');

# In the end ----------------------------------------------------------------------------------------------------------------

isnt($t->files, '', 'all that was put back is there to the end');
$t->sql('DELETE FROM patches; DELETE FROM modules; DELETE FROM texts');
$t->sql('DELETE FROM parts');
eventually { $t->files } '', 'and every file goes with the last row that uses it', 60;

done_testing();
