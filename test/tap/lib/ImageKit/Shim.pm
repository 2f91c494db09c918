# A server whose clock jumps, whose disk is full and whose processes start slowly when a test says so: shim/server_shim.c, compiled
# and preloaded.
#
#   my $shim = ImageKit::Shim->new($t, disk => $directory, speed => 100) or plan skip_all => 'no C compiler';   # restarts the server
#   $shim->clock(-86400);    # a day back, from now on
#   $shim->full(1);          # no file below DISK grows
#   $shim->hold_forks(1);    # new processes, sessions' too, do nothing until it is 0 again
#
# With SPEED, time runs so many times faster for the server.

package ImageKit::Shim;

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $t, %options) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { clock => "$directory/clock", full => "$directory/full", fork => "$directory/fork" }, $class;
	my $library = "$directory/server_shim.so";
	my ($compiler) = split ' ', $t->node->config_data('--cc');
	system($compiler, '-O1', '-shared', '-fPIC', '-o', $library, "$FindBin::Bin/../shim/server_shim.c", '-ldl') == 0 or return;
	$self->clock(0);
	# The server's environment, not the test's.
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{SHIM_CLOCK} = $self->{clock};
	local $ENV{SHIM_FULL} = $self->{full};
	local $ENV{SHIM_FORK} = $self->{fork};
	local $ENV{SHIM_SPEED} = $options{speed} // 1;
	local $ENV{SHIM_DISK} = $options{disk} // "$directory/nowhere";
	$t->node->restart;
	return $self;
}

# In place: the server has the file mapped.
sub clock
{
	my ($self, $seconds) = @_;
	open(my $file, -e $self->{clock} ? '+<' : '+>', $self->{clock}) or die "$self->{clock}: $!";
	syswrite($file, pack('q', $seconds)) == 8 or die "$self->{clock}: $!";
	close $file;
	return;
}

sub full { my ($self, $yes) = @_; return _flag($self->{full}, $yes); }

sub hold_forks { my ($self, $yes) = @_; return _flag($self->{fork}, $yes); }

sub _flag
{
	my ($file, $yes) = @_;
	if ($yes) { append_to_file($file, ''); }
	else { unlink $file; }
	return;
}

1;
