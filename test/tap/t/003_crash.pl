# Nothing committed is lost, and nobody waits for ImageKit: the worker is killed, terminated and shut down while a request
# hangs, before and after ImageKit has done what it was asked.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(settings => { restart_after_crash => 'on', 'imagekit_cleanup.request_timeout' => '60s' });
my ($node, $imagekit) = ($t->node, $t->imagekit);

# Deletes the row's image and waits until the request KIND of it hangs. Returns the worker's process id.
sub hang
{
	my ($id, $method, $kind) = @_;
	$t->insert($id, "h$id.jpg");
	$imagekit->fault(kind => $kind, method => $method, count => 1);
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled } 'a request hangs';
	return $t->worker;
}

sub attempts { return $t->sql('SELECT string_agg(attempts::text, $$,$$) FROM imagekit.pending') }

# pg_terminate_backend ----------------------------------------------------------------------------------------------------

my $worker = hang(1, 'GET', 'stall');
my $start = time();
$t->sql("SELECT pg_terminate_backend($worker)");
wait_for { $t->worker ne $worker } 'the worker is gone';
cmp_ok(time() - $start, '<', 1, 'a worker whose request hangs obeys pg_terminate_backend within a second');
eventually { $t->files } '', 'another worker comes and does the work';
$imagekit->release;

# kill -9 -----------------------------------------------------------------------------------------------------------------

sub kill_worker
{
	my ($pid) = @_;
	my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup launcher'";
	my $before = $t->sql($launcher);
	kill 'KILL', $pid;
	# The whole server restarts itself. Connections succeed for a moment before, and fail meanwhile: a new launcher is the
	# sign that it is over.
	wait_for
	{
		my ($status, $now) = $node->psql('postgres', $launcher);
		$status == 0 && $now =~ /^\d+$/ && $now ne $before;
	}
	'the server is back';
	return;
}

$worker = hang(2, 'GET', 'stall');
is(attempts(), '1', 'an attempt is counted before anything is sent');
kill_worker($worker);
eventually { $t->files } '', 'kill -9 while a look-up hangs loses nothing';
$imagekit->release;
eventually { $t->history } 'deleted h1.jpg, deleted h2.jpg', 'and the file is settled once';

$worker = hang(3, 'DELETE', 'stall_after');
is($t->files, '', 'ImageKit has deleted the file and not answered yet');
kill_worker($worker);
$imagekit->release;
eventually { $t->history } 'deleted h1.jpg, deleted h2.jpg, not_found h3.jpg',
  'kill -9 between the delete and its settlement: found to be gone, which is success';
is($t->pending, 0, 'nothing is left in the queue');

# Shutdown ----------------------------------------------------------------------------------------------------------------

hang(4, 'DELETE', 'stall');
$t->mark_log;
$start = time();
$node->stop('fast');
my $took = time() - $start;
$imagekit->release;
cmp_ok($took, '<', 3, 'a fast shutdown does not wait for a request that hangs');
my @stamps = $t->log =~ /^(\d+-\d+-\d+ [\d:.]+) .*(?:received fast shutdown request|terminating background worker "imagekit_cleanup worker)/mg;
SKIP:
{
	skip 'no time stamps in the log', 1 if @stamps < 2;
	my @seconds = map { my ($h, $m, $s) = /(\d+):(\d+):([\d.]+)/; $h * 3600 + $m * 60 + $s } @stamps;
	cmp_ok($seconds[-1] - $seconds[0], '<', 1, 'the worker is gone within a second of the request');
}
$node->start;
eventually { $t->files } '', 'what was under way is done after the start';

$imagekit->fault(kind => 'text_500', count => 0);
$t->insert(5, map { "five$_.jpg" } 1 .. 20);
$t->sql('DELETE FROM patches WHERE id = 5');
is($t->pending, 20, '20 images wait');
$node->stop('immediate');
$node->start;
is($t->pending, 20, 'an immediate stop loses none of them');
$imagekit->no_faults;
eventually { $t->files } '', 'and they are deleted in the end';

done_testing();
