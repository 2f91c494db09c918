# Ways for a server to die, as one who pulls the plug would do it.

package ImageKit::Crash;

use strict;
use warnings;

use Exporter 'import';
use ImageKit::Test;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(kill_every_process stop_at_once);

# SIGKILL for all: what was in shared memory and not yet written is lost, as when the machine's power goes. Then started again.
sub kill_every_process
{
	my ($node) = @_;
	my $postmaster = $node->{_pid};
	kill 'STOP', $postmaster;    # no new child meanwhile
	my @all = (_children($postmaster), $postmaster);
	kill 'KILL', $_ for @all;
	$node->kill9;
	wait_for { !grep { !_gone($_) } @all } 'every process of the server is gone';
	# A zombie's process id looks like a running server's, and when it is reaped is not up to us.
	unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	$node->start;
	return;
}

# An immediate stop, and a start.
sub stop_at_once
{
	my ($node) = @_;
	$node->stop('immediate');
	$node->start;
	return;
}

sub _children
{
	my ($parent) = @_;
	return grep { my $stat = eval { slurp_file("/proc/$_/stat") } // ''; $stat =~ /\) \S (\d+)/ && $1 == $parent }
	  map { m{/proc/(\d+)$} ? $1 : () } glob('/proc/[0-9]*');
}

# Gone, or a zombie that nobody has waited for.
sub _gone { my $stat = eval { slurp_file("/proc/$_[0]/stat") } // ''; return $stat eq '' || $stat =~ /\) Z /; }

1;
