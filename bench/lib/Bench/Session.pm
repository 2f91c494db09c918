# A session that lasts: psql at the other end of two pipes. What it is given is timed by the processor time of its backend.

package Bench::Session;

use strict;
use warnings;

use IPC::Open2;

# PSQL: the program. PREPARE: SQL that the session begins with. OPTIONS: search_path, synchronous_commit; scratch, a
# directory.
sub new
{
	my ($class, $psql, $prepare, %options) = @_;
	my $self = bless {}, $class;
	local $ENV{PGOPTIONS} = join(' ', $ENV{PGOPTIONS}, map { "-c $_=$options{$_}" } qw(search_path synchronous_commit));
	$self->{psql} = open2($self->{output}, $self->{input}, $psql, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', 'postgres');
	$self->{input}->autoflush(1);
	($self->{backend}) = $self->_ask("$prepare;\nSELECT pg_backend_pid();\n") =~ /(\d+)/ or die "no session\n";
	# Both on one core: which cores they are on would change from turn to turn, and by half what waking each other costs.
	for my $process ($self->{psql}, $self->{backend})
	{
		system("taskset -pc 0 $process >$options{scratch}/messages 2>&1") == 0 or die "taskset failed\n";
	}
	return $self;
}

# Runs SCRIPT; returns the nanoseconds of processor time that it took the backend.
sub cpu_of
{
	my ($self, $script) = @_;
	my $before = $self->_cpu;
	$self->_ask($script);
	return $self->_cpu - $before;
}

sub close
{
	my ($self) = @_;
	close $self->{input};
	waitpid($self->{psql}, 0);
	die "a session ended with exit status $?\n" if $?;
	return;
}

# What psql prints up to the end of SCRIPT.
sub _ask
{
	my ($self, $script) = @_;
	my $end = 'end of script';
	print { $self->{input} } "$script\\echo $end\n";
	my $text = '';
	my $output = $self->{output};
	while (my $line = <$output>)
	{
		return $text if $line eq "$end\n";
		$text .= $line;
	}
	die "a session has ended early; it printed: $text\n";
}

# Nanoseconds of processor time of the backend. It waits for us: its clock stands.
sub _cpu
{
	my ($self) = @_;
	open(my $in, '<', "/proc/$self->{backend}/schedstat") or die "/proc/$self->{backend}/schedstat: $!\n";
	my ($cpu) = split / /, scalar <$in>;
	return $cpu;
}

1;
