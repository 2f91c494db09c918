# A row moves to another partition, and what it moved to is watched no more when the worker looks: detached, dropped, its column
# given up. No statement has removed the image, and DDL promises to queue none: its file stays. Where nothing has left what is
# watched, an image that went with the move is found and deleted.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
$t->sql('CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$');
$t->sql(qq{CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN NEW.image := replace(NEW.image, 'old', 'new'); RETURN NEW; END \$\$});

# Nothing waits any more, not even a move that nobody is shown.
sub unsettled { return $t->sql('SELECT (SELECT count(*) FROM imagekit.outbox) + (SELECT count(*) FROM imagekit.backlog) + (SELECT count(*) FROM imagekit.claims)'); }

# Each case has a watched table of its own, T, with the partitions T_a, T_y, T_z and T_sub_z, and a row in the first with an image.
my $case = 0;
my $options = '';

sub fill_in
{
	my ($sql) = @_;
	return $sql =~ s/\bT(?=\b|_)/case$case/gr =~ s{\bold\.jpg}{$ENDPOINT/$case/old.jpg}gr;
}

sub begin_case
{
	$case++;
	$imagekit->seed("/$case/old.jpg");
	$t->sql(fill_in(qq{
		CREATE TABLE T (id int, region text, image text) PARTITION BY LIST (region);
		CREATE TABLE T_a PARTITION OF T FOR VALUES IN ('a');
		CREATE TABLE T_y PARTITION OF T FOR VALUES IN ('y');
		CREATE TABLE T_z PARTITION OF T FOR VALUES IN ('z');
		CREATE TABLE T_sub PARTITION OF T FOR VALUES IN ('sub') PARTITION BY LIST (id);
		CREATE TABLE T_sub_z PARTITION OF T_sub FOR VALUES IN (1);
		SELECT imagekit.watch('T', '{image}' $options);
		INSERT INTO T VALUES (1, 'a', 'old.jpg')}));
	return;
}

sub end_case
{
	my ($name, $files, $outcomes) = @_;
	wait_for { unsettled() == 0 } "$name is settled";
	is($t->files(prefix => "/$case/"), $files ? "/$case/$files" : '', $name);
	is($t->sql(qq{SELECT string_agg(outcome, ' ') FROM imagekit.history WHERE url LIKE '%/$case/%'}), $outcomes, "$name: the history says so");
	return;
}

# STEPS are run one by one, and the worker looks only when all are done.
sub after_steps
{
	my ($name, $files, $outcomes, @steps) = @_;
	begin_case();
	$t->sql('SELECT imagekit.disable()') if @steps > 1;
	$t->sql(fill_in($_)) for @steps;
	$t->sql('SELECT imagekit.enable()') if @steps > 1;
	end_case($name, $files, $outcomes);
	return;
}
sub stays_after { my ($name, @steps) = @_; after_steps($name, 'old.jpg', '', @steps); return; }
sub goes_after { my ($name, @steps) = @_; after_steps($name, '', 'deleted', @steps); return; }

# In the transaction of the move, and in a later one.
sub stays_after_both
{
	my ($name, $move, $ddl) = @_;
	stays_after("$name, in one transaction", "BEGIN; $move; $ddl; COMMIT");
	stays_after("$name, afterwards", $move, "BEGIN; $ddl; COMMIT");
	return;
}

my $to_z = q{UPDATE T SET region = 'z'};
my $to_sub = q{UPDATE T SET region = 'sub'};

# What leaves -----------------------------------------------------------------------------------------------------------------

stays_after_both('the partition is detached', $to_z, 'ALTER TABLE T DETACH PARTITION T_z');
is($t->sql(fill_in('SELECT image FROM T_z')), "$ENDPOINT/$case/old.jpg", 'the row is there with its image');
stays_after_both('a partition of a partition is detached', $to_sub, 'ALTER TABLE T_sub DETACH PARTITION T_sub_z');
stays_after_both('one that has partitions is detached', $to_sub, 'ALTER TABLE T DETACH PARTITION T_sub');
stays_after_both('the partition is dropped', $to_z, 'DROP TABLE T_z');
stays_after_both('a partition of a partition is dropped', $to_sub, 'DROP TABLE T_sub_z');
stays_after_both('its schema is dropped', $to_z, 'CREATE SCHEMA schema_T; ALTER TABLE T_z SET SCHEMA schema_T; DROP SCHEMA schema_T CASCADE');
stays_after_both('the column is replaced by another', $to_z, 'ALTER TABLE T ADD icon text; UPDATE T SET icon = image; ALTER TABLE T DROP COLUMN image');
stays_after_both('the column gets a type that is not searched', $to_z, q{ALTER TABLE T ALTER image TYPE bytea USING convert_to(image, 'UTF8')});
stays_after_both('the table is not watched any more', $to_z, q{SELECT imagekit.unwatch('T')});
stays_after_both('the table is watched for another column', $to_z, q{ALTER TABLE T ADD icon text; SELECT imagekit.watch('T', '{icon}')});
stays_after('the partition is detached concurrently', $to_z, 'ALTER TABLE T DETACH PARTITION T_z CONCURRENTLY');
stays_after('moved on from one to another, which is dropped', qq{BEGIN; UPDATE T SET region = 'y'; $to_z; DROP TABLE T_z; COMMIT});
stays_after('moved there within a savepoint', "BEGIN; SAVEPOINT s; $to_z; RELEASE s; ALTER TABLE T DETACH PARTITION T_z; COMMIT");

$options = q{, on_truncate => 'ignore'};
stays_after_both(q{the partition is truncated, and on_truncate is 'ignore'}, $to_z, 'TRUNCATE T_z');
$options = '';

# What leaves while the worker looks --------------------------------------------------------------------------------------------

# DDL that is not committed when the worker comes to the move.
for my $ddl ('ALTER TABLE T DETACH PARTITION T_z', 'DROP TABLE T_z', 'ALTER TABLE T ADD icon text; UPDATE T SET icon = image; ALTER TABLE T DROP COLUMN image')
{
	begin_case();
	$t->sql('SELECT imagekit.disable()');
	$t->sql(fill_in($to_z));
	my $session = $t->node->background_psql('postgres');
	$session->query_safe('SET client_min_messages = error; BEGIN');
	$session->query_safe(fill_in($ddl));
	$t->sql('SELECT imagekit.enable()');
	# It may look, and look again; all it may not do is to conclude that the image was removed.
	wait_for { $t->worker } 'the worker is there';
	stays { $t->files(prefix => "/$case/") } "/$case/old.jpg", "nothing is concluded from open DDL: $ddl";
	$session->query_safe('COMMIT');
	$session->quit;
	end_case("nor when it is committed: $ddl", 'old.jpg', '');
}

# Between the two transactions of DETACH CONCURRENTLY, which waits for whoever reads the table.
begin_case();
$t->sql('SELECT imagekit.disable()');
$t->sql(fill_in($to_z));
my $reader = $t->node->background_psql('postgres');
$reader->query_safe('BEGIN');
$reader->query_safe(fill_in('SELECT count(*) FROM T'));
my $detaching = $t->node->background_psql('postgres');
$detaching->query_until(qr/begun/, fill_in("\\echo begun\nALTER TABLE T DETACH PARTITION T_z CONCURRENTLY;\n"));
wait_for { $t->sql('SELECT count(*) FROM pg_inherits WHERE inhdetachpending') } 'it waits for the reader';
$t->sql('SELECT imagekit.enable()');
stays { $t->files(prefix => "/$case/") } "/$case/old.jpg", 'nothing is concluded while a partition is being detached concurrently';
$reader->query_safe('COMMIT');
$reader->quit;
$detaching->query('SELECT 1');  # query_safe() would see the NOTICE of the command that has waited
$detaching->quit;
end_case('nor when it is detached', 'old.jpg', '');

# What goes -------------------------------------------------------------------------------------------------------------------

goes_after('an image that leaves the row in the UPDATE that moves it', q{UPDATE T SET region = 'z', image = NULL});
goes_after('so it does after a partition has been detached', 'BEGIN; ALTER TABLE T DETACH PARTITION T_y; COMMIT; ' . q{UPDATE T SET region = 'z', image = NULL});
goes_after('and after one was dropped', 'BEGIN; DROP TABLE T_y; COMMIT; ' . q{UPDATE T SET region = 'z', image = NULL});
goes_after('and when something of another table leaves with it',
	q{CREATE TABLE more_T (id int, image text) PARTITION BY LIST (id); CREATE TABLE more_T_1 PARTITION OF more_T FOR VALUES IN (1); SELECT imagekit.watch('more_T', '{image}')},
	q{BEGIN; UPDATE T SET region = 'z', image = NULL; ALTER TABLE more_T DETACH PARTITION more_T_1; COMMIT});
goes_after('a column that is not watched has left', q{ALTER TABLE T ADD icon text}, q{BEGIN; UPDATE T SET region = 'z', image = NULL; ALTER TABLE T DROP COLUMN icon; COMMIT});
goes_after('a row that a BEFORE INSERT trigger of the other partition lets vanish',
	'CREATE TRIGGER never BEFORE INSERT ON T_z FOR EACH ROW EXECUTE FUNCTION never()', $to_z);
is($t->sql(fill_in('SELECT count(*) FROM T')), 0, 'it is in no partition');
goes_after('a row whose image such a trigger exchanges', 'CREATE TRIGGER other BEFORE INSERT ON T_z FOR EACH ROW EXECUTE FUNCTION other()', $to_z);
is($t->sql(fill_in('SELECT image FROM T_z')), "$ENDPOINT/$case/new.jpg", 'it has another one');
goes_after('the partition is truncated after the move', "BEGIN; $to_z; TRUNCATE T_z; COMMIT");
goes_after('the row is deleted after the move, and its partition dropped', "BEGIN; $to_z; DELETE FROM T; DROP TABLE T_z; COMMIT");

done_testing();
