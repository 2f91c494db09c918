# More databases than workers, than worker slots, than the shared memory has room for: each gets its turn, also when others
# always have work.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my @databases = map { "db$_" } 1 .. 5;
my $t = ImageKit::Test->new(ready => 0, settings => {
	'imagekit_cleanup.request_timeout' => '60s', 'imagekit_cleanup.max_workers' => '1',
	# The launcher, that of logical replication, and two more.
	max_worker_processes => '4' });
my $imagekit = $t->imagekit;
for my $db (@databases) { $t->sql("CREATE DATABASE $db"); $t->prepare(db => $db, server => { bulk_size => 1, write_rate => 100, write_burst => 10 }); }

sub workers { return $t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'}); }

# A row of one image in DB, and its deletion.
sub remove
{
	my ($db) = @_;
	$imagekit->seed("/$db.jpg");
	$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/$db.jpg}'); DELETE FROM patches WHERE id = 1", $db);
	return;
}

# One that never has done -------------------------------------------------------------------------------------------------------

# Endless work, at a hundred files a second.
$imagekit->seed(map { "/endless/$_.jpg" } 1 .. 5000);
$t->sql(qq{SELECT imagekit.enqueue(ARRAY(SELECT '$ENDPOINT/endless/' || i || '.jpg' FROM generate_series(1, 5000) i))}, 'db1');
wait_for { $t->worker('db1') ne '' && $imagekit->count(prefix => '/endless/') < 5000 } 'the first database has begun';
my $start = time();
remove($_) for @databases[1 .. 4];
eventually { $t->files(prefix => '/db') } '', 'the one worker that may be serves every database, though the first has endless work', 40;
note sprintf('%.1f s', time() - $start);
cmp_ok($imagekit->count(prefix => '/endless/'), '>', 0, 'which is not done yet');
my $left = $imagekit->count(prefix => '/endless/');
eventually { $imagekit->count(prefix => '/endless/') < $left ? 'less' : 'as much' } 'less', 'and goes on when it is its turn again', 40;
cmp_ok($t->sql('SELECT max(attempts) FROM imagekit.backlog', 'db1'), '<=', 1, 'its files lose no attempt by that');
$t->sql(q{SELECT imagekit.cancel(captured_from => '-infinity')}, 'db1');
wait_for { workers() eq '0' } 'all have left';

# No slot ------------------------------------------------------------------------------------------------------------------------

# Less than all of them: a reload looks at all, and must not meet the end of the slots.
$t->setting('imagekit_cleanup.max_workers', 2);
wait_for { $t->sql('SHOW imagekit_cleanup.max_workers') eq '2' } 'reloaded';
$imagekit->fault(kind => 'stall', contains => "db$_.jpg", method => 'GET', count => 0) for 1, 2;
remove($_) for 'db1', 'db2';
wait_for { $imagekit->stalled == 2 } 'both slots are taken by workers whose requests hang';
$t->mark_log;
$t->setting('imagekit_cleanup.max_workers', 5);
remove($_) for 'db3', 'db4', 'db5';
eventually { scalar $t->log_lines(qr/cannot start a worker/) } 1, 'that no slot is left is said';
stays { scalar $t->log_lines(qr/cannot start a worker/) } 1, 'once', 2;
is(join("\n", $t->log_lines(qr/cannot start a worker/)), 'WARNING:  imagekit_cleanup cannot start a worker: no background worker slot is free', 'in these words');
is($t->files(prefix => '/db'), '/db1.jpg /db2.jpg /db3.jpg /db4.jpg /db5.jpg', 'nothing is lost');
$start = time();
$imagekit->no_faults;
$imagekit->release;
eventually { $t->files(prefix => '/db') } '', 'a slot is free, and the others are served, one after the other';
cmp_ok(time() - $start, '<', 8, 'as soon as it is free, not at the next try');
is(scalar($t->log_lines(qr/cannot start a worker/)), 1, 'without another word');

# No room ------------------------------------------------------------------------------------------------------------------------

$t->node->append_conf('postgresql.conf', "imagekit_cleanup.max_databases = 2\n");
$t->node->restart;
wait_for { workers() eq '0' } 'all have left';
is($t->sql('SHOW imagekit_cleanup.max_databases'), 2, 'room for two of six databases');
eventually { scalar $t->log_lines(qr/WARNING:  imagekit_cleanup has room for 2 of 6 databases/) } 1, 'the launcher says so';
# Commits wake, where there is room; the rest is found in turn.
remove($_) for @databases;
eventually { $t->files(prefix => '/db') } '', 'all are served';
# Woken by nobody: prepared elsewhere, so to say.
$imagekit->seed(map { "/$_.jpg" } @databases);
$t->sql(qq{SELECT imagekit.enqueue('{$ENDPOINT/$_.jpg}', '1 hour')}, $_) for @databases;
wait_for { workers() eq '0' } 'all have left';
$t->sql(q{UPDATE imagekit.backlog SET due_at = now()}, $_) for @databases;
eventually { $t->files(prefix => '/db') } '', 'also what nobody has been woken for';
is(scalar($t->log_lines(qr/has room for/)), 1, 'said once');
is(join("\n", $t->log_lines(qr/ERROR|PANIC/)), '', 'no error');

done_testing();
