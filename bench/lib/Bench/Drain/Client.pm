# psql at the other end of two pipes: a connection that lasts, for commits whose return is timed, and for a transaction
# that stays open.

package Bench::Drain::Client;

use strict;
use warnings;

use IPC::Open2;
use Time::HiRes qw(time);

sub new
{
	my ($class, $psql) = @_;
	my $self = bless {}, $class;
	$self->{pid} = open2($self->{output}, $self->{input}, $psql, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', 'postgres');
	$self->{input}->autoflush(1);
	return $self;
}

# Runs SQL to its end; returns when that was, in seconds since 1970.
sub run
{
	my ($self, $sql) = @_;
	my $end = 'end of script';
	print { $self->{input} } "$sql;\n\\echo $end\n";
	my $output = $self->{output};
	while (my $line = <$output>)
	{
		return time() if $line eq "$end\n";
	}
	die "a client has ended early\n";
}

sub close
{
	my ($self) = @_;
	close $self->{input};
	waitpid($self->{pid}, 0);
	return;
}

1;
