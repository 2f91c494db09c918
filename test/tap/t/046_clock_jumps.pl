# The server's clock jumps, a day forward and a day back, while nothing, a request, or a retry is under way: the worker neither
# hangs nor spins, sends nothing early and nothing twice.

use strict;
use warnings;

use ImageKit::Shim;
use ImageKit::Test;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $day = 86400;
my $t = ImageKit::Test->new(ready => 0, settings => { 'imagekit_cleanup.request_timeout' => '60s' });
my $imagekit = $t->imagekit;
my $shim = ImageKit::Shim->new($t) or plan skip_all => 'the server shim cannot be built';
$t->prepare;
my $id = 0;

# Far from now, the server's clock says so too.
sub jump
{
	my ($to) = @_;
	$shim->clock($to);
	wait_for { abs($t->sql('SELECT extract(epoch FROM clock_timestamp())') - time() - $to) < 60 } 'the clock has jumped';
	return;
}

# Uploaded long ago: how uploads and a wrong clock are told apart is the subject of 036_clocks.
sub remove
{
	my ($name) = @_;
	$imagekit->seed({ filePath => "/$name.jpg", createdAt => '2020-01-01T00:00:00.000Z', updatedAt => '2020-01-01T00:00:00.000Z' });
	$t->sql(sprintf q{INSERT INTO patches VALUES (%d, '{%s/%s.jpg}'); DELETE FROM patches}, ++$id, $ENDPOINT, $name);
	return;
}

sub gone
{
	my ($name, $what, $seconds) = @_;
	my $start = time();
	eventually { $t->files(prefix => "/$name.jpg") . $t->sql(qq{SELECT count(*) FROM imagekit.history WHERE url ~ '/$name\\.jpg' AND outcome = 'deleted'}) } '1', $what, $seconds;
	return time() - $start;
}

# Seconds of processor time that launcher and workers have used.
sub cpu
{
	my $ticks = 0;
	for my $pid (split /\n/, $t->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'imagekit_cleanup%'}))
	{
		my @fields = split ' ', (eval { slurp_file("/proc/$pid/stat") } // '') =~ s/^.*\) //r;
		$ticks += $fields[11] + $fields[12] if @fields > 12;
	}
	return $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

for my $by ($day, -$day)
{
	my $where = $by > 0 ? 'forward' : 'back';
	# As far as the test has come, the clock is right.
	jump(0);

	remove("before-$where");
	gone("before-$where", "before the jump $where");
	jump($by);
	remove("idle-$where");
	cmp_ok(gone("idle-$where", "a day $where, with an idle worker: it works"), '<', 5, 'at once');

	jump(0);
	wait_for { $t->worker eq '' } 'the worker has left';
	jump($by);
	remove("left-$where");
	cmp_ok(gone("left-$where", "a day $where, with no worker: one comes"), '<', 5, 'at once');

	jump(0);
	$imagekit->fault(kind => 'stall', contains => "hung-$where.jpg");
	remove("hung-$where");
	wait_for { $imagekit->stalled } 'a request hangs';
	jump($by);
	my $used = cpu();
	stays { $t->files(prefix => '/hung') . $imagekit->stalled } "/hung-$where.jpg1", "a day $where, the request goes on as if nothing had happened", 1;
	cmp_ok(cpu() - $used, '<', 0.3, 'and nobody spins');
	$imagekit->release;
	gone("hung-$where", 'and its file is deleted, once');

	# The next worker is to come in a second, by a clock that nobody sets.
	jump(0);
	$imagekit->fault(kind => 'stall', contains => "stopped-$where.jpg");
	remove("stopped-$where");
	wait_for { $imagekit->stalled } 'a request hangs';
	$t->sql('SELECT pg_terminate_backend(' . $t->worker . ')');
	jump($by);
	cmp_ok(gone("stopped-$where", "a day $where, the one that follows a worker that was stopped comes"), '<', 5, 'when it should');
	$imagekit->release;

	# A file that failed waits for its next attempt.
	jump(0);
	$imagekit->fault(kind => 'text_500', contains => "retried-$where.jpg", count => 0);
	remove("retried-$where");
	wait_for { $t->sql("SELECT count(*) FROM imagekit.pending WHERE state = 'retrying'") } 'it is to be tried again';
	jump($by);
	$imagekit->no_faults;
	cmp_ok(gone("retried-$where", "a day $where, what waits for its next attempt is not forgotten", 5), '<', 5, 'nor does it take a day');
}

# What waits for its grace period: not early because the clock went back, and when it is due by the clock that there is.
jump(0);
$t->sql(q{ALTER SERVER acme OPTIONS (ADD grace_period '2 days')});
remove('grace');
wait_for { $t->pending == 1 } 'it waits';
jump(-$day);
my $used = cpu();
stays { $t->files(prefix => '/grace') } '/grace.jpg', 'a grace period does not end early when the clock is put back';
cmp_ok(cpu() - $used, '<', 0.3, 'and nobody spins');
jump($day);
stays { $t->files(prefix => '/grace') } '/grace.jpg', 'nor when it is put forward by less';
jump(3 * $day);
gone('grace', 'and ends when the clock says so');

done_testing();
