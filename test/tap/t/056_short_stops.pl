# However briefly an account is stopped, and whenever that is over: somebody is there to try it again. The end of a stop may fall
# between any two statements of the worker's look at what is due; so there are many stops, and long looks. One that is missed is
# missed for long.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(
	ready => 0,
	settings => { 'imagekit_cleanup.retry_delay' => '1s', 'imagekit_cleanup.worker_idle_timeout' => '10min', 'imagekit_cleanup.poll_interval' => '10min' });
$t->prepare(server => { read_rate => 1000, read_burst => 1000 });
my $imagekit = $t->imagekit;

$imagekit->fault(kind => 'unauthorized', count => 0);
$t->insert(1, 'stopped.jpg');
$t->sql('DELETE FROM patches WHERE id = 1');
# Of accounts that are not there any more: they are read in every look, and it takes as long as a stop lasts.
$t->sql(q{INSERT INTO imagekit.pauses (server, name, paused_by) SELECT 1000000 + n, 'gone' || n, 'somebody' FROM generate_series(1, 20000) n});
for my $stop (12, 16, 20, 24, 28, 36, 48, 64)
{
	$t->setting('imagekit_cleanup.retry_delay_max', "'${stop}ms'");
	$imagekit->forget;
	eventually { $imagekit->requests > 7 ? 'again and again' : '' } 'again and again', "a file is tried again each time that a stop of at most $stop ms is over";
}
$imagekit->no_faults;
eventually { $t->files . $t->pending } '0', 'and goes in the end';

done_testing();
