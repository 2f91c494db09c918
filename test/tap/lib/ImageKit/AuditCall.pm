# CALL imagekit.audit() in a session of its own, which can be looked at, and struck down, while it is under way.
#
#   my $audit = ImageKit::AuditCall->start($t, arguments => 'NULL, true', options => '-c work_mem=1MB', before => 'SET ...');
#   kill 'STOP', $audit->backend;
#   like($audit->said, qr/orphans/);

package ImageKit::AuditCall;

use strict;
use warnings;

use ImageKit::Test;
use POSIX ();
use PostgreSQL::Test::Utils;

my $calls = 0;

# OPTIONS: arguments of the CALL, or the whole statement as sql; options for the server; before: SQL that the session runs first;
# patience: seconds that it may take; db.
sub start
{
	my ($class, $t, %options) = @_;
	my $name = 'audit ' . ++$calls;
	my $self = bless { t => $t, name => $name, patience => 60, %options, file => PostgreSQL::Test::Utils::tempdir() . "/$calls" }, $class;
	my $connection = $t->node->connstr($options{db} // 'postgres') . " application_name='$name' options='" . ($options{options} // '') . q{'};
	my $statement = $options{sql} // 'CALL imagekit.audit(' . ($options{arguments} // '') . ')';
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# Without END blocks: they are the test's.
		open(STDOUT, '>', $self->{file}) && open(STDERR, '>&', \*STDOUT)
		  && exec('psql', '-X', '-q', '-A', '-t', $connection, map { ('-c', $_) } grep { defined } $options{before}, $statement, $options{after});
		POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	return $self;
}

sub ended { my ($self) = @_; return $self->{ended} ||= waitpid($self->{pid}, POSIX::WNOHANG) == $self->{pid}; }

# All that psql printed, when it has ended.
sub said
{
	my ($self) = @_;
	wait_for { $self->ended } 'the audit ends', $self->{patience};
	return slurp_file($self->{file});
}

# The process id of its backend; empty when it has none, or the server is not there.
sub backend
{
	my ($self) = @_;
	my ($status, $output) = $self->{t}->node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = '$self->{name}'");
	return $status == 0 ? $output : '';
}

# Waits until it is at a step, or has ended; true when it is there.
sub at
{
	my ($self, $step) = @_;
	wait_for {
		my ($status, $state) = $self->{t}->node->psql($self->{db} // 'postgres', 'SELECT state FROM imagekit.audit_runs ORDER BY id DESC LIMIT 1');
		$self->ended || $status == 0 && $state eq $step;
	} "the step $step", $self->{patience};
	return !$self->ended;
}

1;
