# Logical replication between two databases that both have the extension and both watch the table: by the setting of each table exactly
# one of them queues, or both, or none twice.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Cluster;
use Test::More;

my %settings = (max_connections => 30, shared_buffers => '16MB');
my $t = ImageKit::Test->new(name => 'publisher', ready => 0, init => [ allows_streaming => 'logical' ], settings => \%settings);
my $imagekit = $t->imagekit;
my $s = ImageKit::Test->new(name => 'subscriber', ready => 0, init => [ allows_streaming => 'logical' ], settings => \%settings);
my ($publisher, $subscriber) = ($t->node, $s->node);
# One ImageKit for both, as it is for an application that replicates its tables.
$s->{imagekit} = $imagekit;
$_->prepare(enable => 0) for $t, $s;

# The same tables on both sides. Those of the subscriber have other columns first, and dropped ones.
my @tables = qw(plain routed moved);
$t->sql(q{
	CREATE TABLE plain (id int PRIMARY KEY, images text[]);
	CREATE TABLE routed (id int, region text, images text[], PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE routed_eu PARTITION OF routed FOR VALUES IN ('eu');
	CREATE TABLE routed_us PARTITION OF routed FOR VALUES IN ('us');
	CREATE TABLE moved (id int, region text, images text[], PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE moved_eu PARTITION OF moved FOR VALUES IN ('eu');
	CREATE TABLE moved_us PARTITION OF moved FOR VALUES IN ('us');
	CREATE PUBLICATION by_root FOR TABLE plain, routed WITH (publish_via_partition_root = true);
	CREATE PUBLICATION by_partition FOR TABLE moved WITH (publish_via_partition_root = false)});
$s->sql(q{
	CREATE TABLE plain (gone int, images text[], id int PRIMARY KEY);
	ALTER TABLE plain DROP COLUMN gone;
	CREATE TABLE routed (id int, region text, images text[], PRIMARY KEY (id, region)) PARTITION BY RANGE (id);
	CREATE TABLE routed_low PARTITION OF routed FOR VALUES FROM (0) TO (1000);
	CREATE TABLE moved (id int, region text, images text[], PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE moved_eu PARTITION OF moved FOR VALUES IN ('eu');
	CREATE TABLE moved_us PARTITION OF moved FOR VALUES IN ('us')});

sub watch_with
{
	my ($side, $replication) = @_;
	$side->sql(join ';', map { "SELECT imagekit.watch('$_', '{images}'" . (defined $replication ? ", replication => '$replication'" : '') . ')' } @tables);
	return;
}
sub unwatch { my ($side) = @_; $side->sql(join ';', map { "SELECT imagekit.unwatch('$_')" } @tables); return; }
sub setting { my ($side) = @_; return $side->sql(q{SELECT string_agg(DISTINCT replication, ' ') FROM imagekit.watched WHERE relation::text IN ('plain', 'routed', 'moved')}); }

# File names of what a side has queued; empties its queue. A row that has moved is shown as what it is: no removal.
sub queued
{
	my ($side) = @_;
	my $names = $side->sql(q{SELECT string_agg(regexp_replace(url, '.*/', ''), ' ' ORDER BY url) FROM imagekit.pending});
	$side->sql('DELETE FROM imagekit.outbox');
	return $names;
}
sub caught_up { $publisher->wait_for_catchup($_) for qw(by_root by_partition); return; }

# Rows are put in at the publisher; SQL changes them there, or at the subscriber.
my $rows = qq{
	INSERT INTO plain VALUES (1, '{$ENDPOINT/p1.jpg}'), (2, '{$ENDPOINT/p2.jpg,$ENDPOINT/p2-kept.jpg}'), (3, '{$ENDPOINT/p3.jpg}');
	INSERT INTO routed VALUES (1, 'eu', '{$ENDPOINT/r1.jpg}'), (2, 'us', '{$ENDPOINT/r2.jpg,$ENDPOINT/r2-kept.jpg}'), (3, 'us', '{$ENDPOINT/r3.jpg}');
	INSERT INTO moved VALUES (1, 'eu', '{$ENDPOINT/m1.jpg}'), (2, 'us', '{$ENDPOINT/m2.jpg,$ENDPOINT/m2-kept.jpg}'), (3, 'us', '{$ENDPOINT/m3.jpg}')};
my @steps = (
	[ 'DELETE', join(';', map { "DELETE FROM $_ WHERE id = 1" } @tables), 'm1.jpg p1.jpg r1.jpg' ],
	[ 'UPDATE', join(';', map { "UPDATE $_ SET images = images[2:] WHERE id = 2" } @tables), 'm2.jpg p2.jpg r2.jpg' ],
	[ 'UPDATE of another column', join(';', map { "UPDATE $_ SET id = id + 10 WHERE id = 2" } @tables), '' ],
	[ 'TRUNCATE', 'TRUNCATE plain, routed, moved', 'm2-kept.jpg m3.jpg p2-kept.jpg p3.jpg r2-kept.jpg r3.jpg' ]);

# Who queues what is changed at the publisher.
sub check_replicated
{
	my ($name, $at_publisher, $at_subscriber) = @_;
	$t->sql($rows);
	caught_up();
	for my $step (@steps)
	{
		my ($what, $sql, $removed) = @$step;
		$t->sql($sql);
		caught_up();
		is(queued($t), $at_publisher ? $removed : '', "$name: the publisher queues " . ($at_publisher ? 'its own ' : 'no ') . $what);
		is(queued($s), $at_subscriber ? $removed : '', "$name: the subscriber queues " . ($at_subscriber ? 'the replicated ' : 'no ') . $what);
	}
	return;
}

# Who queues what is changed at the subscriber.
sub check_local
{
	my ($name, $at_subscriber) = @_;
	$s->sql($rows =~ s/INTO plain VALUES/INTO plain (id, images) VALUES/r);
	for my $step (@steps)
	{
		my ($what, $sql, $removed) = @$step;
		$s->sql($sql);
		is(queued($s), $at_subscriber ? $removed : '', "$name: the subscriber queues " . ($at_subscriber ? 'its own ' : 'no local ') . $what);
	}
	is(queued($t), '', "$name: nothing of it reaches the publisher");
	return;
}

my $connection = $publisher->connstr('postgres');
for my $name ('by_root', 'by_partition')
{
	$s->sql("CREATE SUBSCRIPTION $name CONNECTION \$\$$connection\$\$ PUBLICATION $name");
	$subscriber->wait_for_subscription_sync($publisher, $name);
}

# origin ------------------------------------------------------------------------------------------------------------------

watch_with($_) for $t, $s;
is(setting($s), 'origin', 'origin is the default, and shown in imagekit.watched');
check_replicated('origin on both sides', 1, 0);
check_local('origin', 1);

# replica -----------------------------------------------------------------------------------------------------------------

unwatch($t);
watch_with($s, 'replica');
is(setting($s), 'replica', 'replica is shown in imagekit.watched');
check_replicated('watched by the subscriber alone, with replica', 0, 1);
check_local('replica', 0);

# always ------------------------------------------------------------------------------------------------------------------

watch_with($s, 'always');
is(setting($s), 'always', 'always is shown in imagekit.watched');
check_replicated('watched by the subscriber alone, with always', 0, 1);
check_local('always', 1);

# Back again, and both ------------------------------------------------------------------------------------------------------

watch_with($_, 'origin') for $t, $s;
is(setting($s), 'origin', 'imagekit.watch() without a setting, or with origin, takes it back');
check_replicated('origin on both sides again', 1, 0);
watch_with($t, 'replica');
check_local('origin beside a publisher with replica', 1);
check_replicated('replica at the publisher, origin at the subscriber', 0, 0);

# Partitions that come later ------------------------------------------------------------------------------------------------

unwatch($t);
watch_with($s, 'replica');
$t->sql(q{CREATE TABLE moved_asia PARTITION OF moved FOR VALUES IN ('asia'); CREATE TABLE routed_asia PARTITION OF routed FOR VALUES IN ('asia')});
$s->sql(q{
	CREATE TABLE moved_asia (images text[], gone int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region));
	ALTER TABLE moved_asia DROP COLUMN gone;
	ALTER TABLE moved ATTACH PARTITION moved_asia FOR VALUES IN ('asia');
	CREATE TABLE routed_high PARTITION OF routed FOR VALUES FROM (1000) TO (2000) PARTITION BY LIST (region);
	CREATE TABLE routed_high_rest PARTITION OF routed_high DEFAULT;
	ALTER SUBSCRIPTION by_partition REFRESH PUBLICATION});
$subscriber->wait_for_subscription_sync($publisher, 'by_partition');
my $later = qq{INSERT INTO moved VALUES (1, 'asia', '{$ENDPOINT/later-m.jpg}'); INSERT INTO routed VALUES (1001, 'asia', '{$ENDPOINT/later-r.jpg}')};
for my $way ('DELETE FROM moved; DELETE FROM routed', 'TRUNCATE moved, routed')
{
	$t->sql($later);
	caught_up();
	$t->sql($way);
	caught_up();
	is(queued($s), 'later-m.jpg later-r.jpg', "partitions that came later are watched as their parent: $way");
	$s->sql("$later; $way");
	is(queued($s), '', 'and only for what is replicated');
}
watch_with($s, 'always');
$s->sql("$later; TRUNCATE moved_asia; DELETE FROM routed_high_rest");
is(queued($s), 'later-m.jpg later-r.jpg', 'another setting reaches every partition');
is($s->sql(q{SELECT string_agg(DISTINCT tgenabled::text, ' ') FROM pg_trigger WHERE tgname ~ '^imagekit' AND tgrelid::regclass::text ~ '^(plain|routed|moved)'}), 'A',
	'each of their triggers has it');

# Row movement --------------------------------------------------------------------------------------------------------------

# Published partition by partition, a row that moves arrives as DELETE and INSERT; and where the subscriber's partitions are others, its
# apply worker itself moves a row by DELETE and INSERT. A removal by all signs: the drain sees that the row is still there.
$imagekit->seed('/goes.jpg', '/moves.jpg', '/drops.jpg', '/root-moves.jpg', '/root-drops.jpg');
watch_with($s, 'replica');
watch_with($t, 'replica');
$_->sql('SELECT imagekit.enable()') for $t, $s;
$t->sql(qq{
	INSERT INTO moved VALUES (1, 'eu', '{$ENDPOINT/goes.jpg}'), (2, 'eu', '{$ENDPOINT/moves.jpg,$ENDPOINT/drops.jpg}');
	INSERT INTO routed VALUES (2, 'eu', '{$ENDPOINT/root-moves.jpg,$ENDPOINT/root-drops.jpg}')});
caught_up();
$t->sql("UPDATE moved SET region = 'us', images = images[:1] WHERE id = 2; UPDATE routed SET id = id + 1000, images = images[:1]; DELETE FROM moved WHERE id = 1");
caught_up();
eventually { $t->files } '/moves.jpg /root-moves.jpg', 'the images that are gone from their rows are deleted, those of rows that moved are not';
wait_for { $s->sql('SELECT (SELECT count(*) FROM imagekit.outbox) + (SELECT count(*) FROM imagekit.backlog) + (SELECT count(*) FROM imagekit.claims)') == 0 } 'the subscriber is done';
is($s->history, 'deleted drops.jpg, deleted goes.jpg, kept moves.jpg, deleted root-drops.jpg, kept root-moves.jpg',
	'the subscriber has looked at the rows that arrived as DELETE and INSERT, and kept their images');
is($t->history, '', 'the publisher has done nothing');
$t->sql('DELETE FROM moved; TRUNCATE routed');
caught_up();
eventually { $t->files } '', 'when the rows go, so do the images';

done_testing();
