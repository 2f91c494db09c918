# imagekit_cleanup.enabled goes off while the worker is being started: PostgreSQL loses that reload for a process which has been
# forked and does not listen yet. It must not go on with what it was born with.

use strict;
use warnings;

use ImageKit::Shim;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
my $node = $t->node;
my $shim = ImageKit::Shim->new($t) or plan skip_all => 'the server shim cannot be built';
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
END { local $?; $shim->hold_forks(0) if $shim; }

sub children { return map { m{^/proc/(\d+)/} } grep { (eval { slurp_file($_) } // '') =~ /^\d+ \(.*\) \S $postmaster /s } glob '/proc/[0-9]*/stat'; }

$t->sql('SELECT imagekit.enable()');
wait_for { $t->worker eq '' } 'no worker';
$t->insert(1, 'kept.jpg');
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe('SELECT 1');
my %before = map { $_ => 1 } children();
$t->mark_log;
$shim->hold_forks(1);
$session->query_safe('DELETE FROM patches');
wait_for { scalar grep { !$before{$_} } children() } 'the worker is forked, and waits';
$t->setting('imagekit_cleanup.enabled', 'off');
wait_for { $t->log =~ /parameter "imagekit_cleanup.enabled" changed to "off"/ } 'the server has read the setting';
# The signals to the processes are sent right after that line.
wait_for { $session->query_safe('SHOW imagekit_cleanup.enabled') =~ /off/ } 'and has told its processes';
$shim->hold_forks(0);
eventually { $t->sql('SELECT 1') } '1', 'processes start again';
stays { join ' ', $imagekit->requests } '', 'a worker that was being started meanwhile asks for nothing';
is($t->files . $t->pending, '/kept.jpg1', 'and its file waits');
$t->setting('imagekit_cleanup.enabled', 'on');
eventually { $t->files . $t->pending } '0', 'until it is switched on';
$session->quit;

done_testing();
