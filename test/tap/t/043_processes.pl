# Signals, ends and deaths of launcher, worker and server, with a request that hangs: whoever may come back does, whoever has to
# go goes at once, and nothing is lost.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(settings => { restart_after_crash => 'on', 'imagekit_cleanup.request_timeout' => '60s' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
my $deleted = '';

# Deletes a row's image and waits until METHOD hangs. Returns the worker's process id.
sub hang
{
	my ($id, $method) = @_;
	$t->insert($id, "$id.jpg");
	$imagekit->fault(kind => 'stall', method => $method, contains => $method eq 'GET' ? "$id.jpg" : '/v1/files/');
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled } 'a request hangs';
	return $t->worker;
}

# What hung is answered, and everything is as it should be.
sub goes_on
{
	my ($id, $what) = @_;
	$imagekit->no_faults;
	$imagekit->release;
	$deleted = join(', ', $deleted || (), "deleted $id.jpg");
	eventually { $t->files . $t->history } $deleted, "$what: the work is done, once";
	is($t->pending, 0, "$what: nothing is left");
	return;
}

sub launcher { return $t->sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup launcher'}); }

# SIGHUP ------------------------------------------------------------------------------------------------------------------------

my $worker = hang(11, 'GET');
$t->setting('imagekit_cleanup.enabled', 'off');
wait_for { $t->cause eq 'imagekit_cleanup.enabled is off' } 'the setting is read';
is($t->worker, $worker, 'a reload does not disturb a request');
$imagekit->release;
eventually { $t->worker . $t->sql(q{SELECT state FROM imagekit.pending}) } qr/^(?:retrying|waiting)$/,
  'enabled = off, set while the look-up hung, stops the delete that would have followed';
is(join(' ', grep { /DELETE|POST/ } $imagekit->requests), '', 'none was sent');
$t->setting('imagekit_cleanup.enabled', 'on');
goes_on(11, 'on again');

hang(12, 'GET');
$t->setting('imagekit_cleanup.log_deletions', 'off');
$t->mark_log;
goes_on(12, 'log_deletions = off, set while the look-up hung');
is(scalar($t->log_lines(qr/Successfully deleted/)), 0, 'it holds for this very file');
$t->setting('imagekit_cleanup.log_deletions', 'on');

# pg_cancel_backend -----------------------------------------------------------------------------------------------------------------

$t->mark_log;
$worker = hang(13, 'DELETE');
my $launcher = launcher();
$t->sql("SELECT pg_cancel_backend($_)") for ($worker, $launcher) x 3;
stays { $t->worker . ' ' . launcher() } "$worker $launcher", 'pg_cancel_backend of worker and launcher does nothing', 0.5;
goes_on(13, 'cancelled');
is(join("\n", $t->log_lines(qr/ERROR|FATAL/)), '', 'and is no error');

# pg_terminate_backend --------------------------------------------------------------------------------------------------------------

$worker = hang(14, 'GET');
my $start = time();
$t->sql("SELECT pg_terminate_backend($worker)");
wait_for { $t->worker ne $worker } 'the worker is gone';
cmp_ok(time() - $start, '<', 1, 'a terminated worker goes while its request hangs');
goes_on(14, 'terminated worker');

$worker = hang(15, 'GET');
$launcher = launcher();
$t->sql("SELECT pg_terminate_backend($launcher)");
wait_for { launcher() eq '' } 'the launcher is gone';
is($t->worker, $worker, 'the worker goes on without a launcher');
goes_on(15, 'no launcher');
wait_for { $t->worker eq '' } 'the worker leaves';
eventually { launcher() } qr/^\d+$/, 'the postmaster starts another launcher';
hang(16, 'GET');
goes_on(16, 'new launcher');

# kill -9 -----------------------------------------------------------------------------------------------------------------------------

for my $case ([ 17, 'worker' ], [ 18, 'launcher' ])
{
	my ($id, $who) = @$case;
	$worker = hang($id, 'GET');
	my $before = launcher();
	kill 'KILL', $who eq 'worker' ? $worker : $before;
	wait_for { my ($status, $now) = $node->psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup launcher'});
		$status == 0 && $now =~ /^\d+$/ && $now ne $before } 'the server has restarted its processes';
	goes_on($id, "kill -9 of the $who");
}

# The server's end ----------------------------------------------------------------------------------------------------------------------

# By the clock of the server's own log: pg_ctl looks only ten times a second, and Perl has to start it.
for my $case ([ 19, 'fast', 'GET' ], [ 20, 'fast', 'DELETE' ], [ 21, 'immediate', 'GET' ])
{
	my ($id, $mode, $method) = @$case;
	hang($id, $method);
	$t->mark_log;
	$start = time();
	$node->stop($mode);
	my $took = time() - $start;
	cmp_ok($took, '<', 1, sprintf('%s shutdown while %s hangs: %.2f s', $mode, $method, $took));
	$imagekit->no_faults;
	$imagekit->release;
	$node->start;
	goes_on($id, "after a $mode shutdown");
}

done_testing();
