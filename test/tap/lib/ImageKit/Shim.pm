# A server whose clock jumps and whose disk is full when a test says so: shim/server_shim.c, compiled and preloaded.
#
#   my $shim = ImageKit::Shim->new($t, disk => $directory) or plan skip_all => 'no C compiler';   # restarts the server
#   $shim->clock(-86400);    # a day back, from now on
#   $shim->full(1);          # no file below DISK grows

package ImageKit::Shim;

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $t, %options) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { clock => "$directory/clock", full => "$directory/full" }, $class;
	my $library = "$directory/server_shim.so";
	my ($compiler) = split ' ', $t->node->config_data('--cc');
	system($compiler, '-O1', '-shared', '-fPIC', '-o', $library, "$FindBin::Bin/../shim/server_shim.c", '-ldl') == 0 or return;
	$self->clock(0);
	# The server's environment, not the test's.
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{SHIM_CLOCK} = $self->{clock};
	local $ENV{SHIM_FULL} = $self->{full};
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

sub full
{
	my ($self, $yes) = @_;
	if ($yes) { append_to_file($self->{full}, ''); }
	else { unlink $self->{full}; }
	return;
}

1;
