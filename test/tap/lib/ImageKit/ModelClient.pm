# A client of the model test: a process with a session of its own, which runs random transactions until it has done its
# share. When its session dies it opens another.
#
#   my $client = ImageKit::ModelClient->start(number => 1, seed => 5, transactions => 100, connection => ..., ...);
#   ... until $client->ended; print $client->done; my $result = $client->result;

package ImageKit::ModelClient;

use strict;
use warnings;

use ImageKit::ModelActions;
use IO::Select;
use IPC::Open3;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

# What may become of an honest client's statement among others': deadlock, serialization, lock not available, a row twice, duplicate,
# cancelled, a transaction that has failed before, and then an unknown savepoint, a prepared transaction that never came to be, and the ends of a server.
my $expected = qr/^(?:40P01|40001|55P03|21000|23505|57014|25P02|42704|3B001|57P0[1-4]|08\w\w\w)$/;

# OPTIONS: number, seed, transactions, connection, directory, fresh, pins.
sub start
{
	my ($class, %options) = @_;
	my $self = bless { %options, result_file => "$options{directory}/$options{number}.json", progress => "$options{directory}/$options{number}.done" }, $class;
	unlink $self->{result_file}, $self->{progress};
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# Without END blocks: they are the test's.
		my $failed = !eval { $self->_run; 1 };
		print STDERR "client $options{number}: $@" if $failed;
		POSIX::_exit($failed ? 1 : 0);
	}
	$self->{pid} = $pid;
	return $self;
}

sub ended
{
	my ($self) = @_;
	$self->{ended} ||= waitpid($self->{pid}, POSIX::WNOHANG) == $self->{pid};
	return $self->{ended};
}

sub kill { my ($self) = @_; CORE::kill('KILL', $self->{pid}) unless $self->ended; return; }

# Transactions so far.
sub done { return -s $_[0]{progress} // 0; }

# { kinds => {"kind: outcome" => count}, errors => {SQLSTATE => count}, unexpected => [messages] }; undef when it failed.
sub result { my ($self) = @_; return -e $self->{result_file} ? decode_json(slurp_file($self->{result_file})) : undef; }

# In the process itself ----------------------------------------------------------------------------------------------------

sub _run
{
	my ($self) = @_;
	srand($self->{seed});
	$self->{actions} = ImageKit::ModelActions->new(fresh => $self->{fresh}, pins => $self->{pins});
	$self->{prepared} = [];
	$self->{report} = { kinds => {}, errors => {}, unexpected => [] };
	local $SIG{PIPE} = 'IGNORE';
	open(my $progress, '>', $self->{progress}) or die "$self->{progress}: $!\n";
	$progress->autoflush(1);
	for my $number (1 .. $self->{transactions})
	{
		my ($kind, @statements) = $self->_transaction($number);
		my $outcome = $self->_outcome($self->_send(@statements));
		$self->{report}{kinds}{"$kind: $outcome"}++;
		print $progress '.';
	}
	my $text = encode_json($self->{report});
	append_to_file($self->{result_file}, $text);
	return;
}

# Kinds of transactions, with weights.
my @kinds = (
	[ 30 => 'single', \&_single ], [ 22 => 'block', \&_block ], [ 7 => 'rolled back', \&_rolled_back ],
	[ 18 => 'savepoints', \&_savepoints ], [ 6 => 'exception blocks', \&_exception_blocks ], [ 8 => 'prepared', \&_prepare ],
	[ 8 => 'decided', \&_decide ], [ 0.4 => 'truncate', \&_truncate ]);

sub _transaction
{
	my ($self, $number) = @_;
	my $weights = 0;
	$weights += $_->[0] for @kinds;
	my $at = rand $weights;
	for my $kind (@kinds)
	{
		next unless ($at -= $kind->[0]) < 0;
		my @statements = $kind->[2]->($self, $number);
		unshift @statements, 'SET synchronous_commit = ' . ('on', 'off', 'local')[ rand 3 ] if rand() < 0.05;
		return ($kind->[1], @statements);
	}
	die;
}

sub _actions { my ($self, $most) = @_; return map { $self->{actions}->any } 1 .. 1 + int rand $most; }

sub _begin { return rand() < 0.15 ? 'BEGIN ISOLATION LEVEL ' . ('REPEATABLE READ', 'SERIALIZABLE')[ rand 2 ] : 'BEGIN'; }

sub _pause { return rand() < 0.08 ? sprintf('SELECT pg_catalog.pg_sleep(%.3f)', rand 0.05) : (); }

sub _single { my ($self) = @_; return $self->{actions}->any; }
sub _block { my ($self) = @_; return (_begin(), $self->_actions(5), _pause(), 'COMMIT'); }
sub _rolled_back
{
	my ($self) = @_;
	return (_begin(), $self->_actions(4), _pause(), 'ROLLBACK') if rand() < 0.6;
	return (_begin(), (map { $self->{actions}->borrow } 1 .. 1 + int rand 4), sprintf('SELECT pg_catalog.pg_sleep(%.3f)', rand 0.2), 'ROLLBACK');
}
sub _truncate { my ($self) = @_; return ('BEGIN', q{SET LOCAL lock_timeout = '400ms'}, $self->{actions}->truncate, $self->_actions(2), rand() < 0.3 ? 'ROLLBACK' : 'COMMIT'); }

# Savepoints within savepoints, each released, rolled back to, or left to the end. A rollback also mends a failed statement;
# after it, the same is often tried again.
sub _savepoints
{
	my ($self) = @_;
	my @statements = (_begin());
	my @open;    # names, the innermost last
	my $names = 0;
	for (1 .. 3 + int rand 8)
	{
		my $what = rand;
		my $at = int rand(@open || 1);
		if ($what < 0.35)
		{
			push @open, 's' . ++$names;
			push @statements, "SAVEPOINT $open[-1]";
		}
		elsif ($what < 0.6 && @open)
		{
			splice @open, $at + 1;
			my ($since) = grep { $statements[$_] eq "SAVEPOINT $open[$at]" } 0 .. $#statements;
			my @again = rand() < 0.5 ? grep { !/^(?:SAVEPOINT|ROLLBACK|RELEASE)/ } @statements[ $since .. $#statements ] : ();
			push @statements, "ROLLBACK TO $open[$at]", @again;
		}
		elsif ($what < 0.75 && @open)
		{
			push @statements, "RELEASE $open[$at]";
			splice @open, $at;
		}
		else { push @statements, $self->{actions}->any; }
	}
	return (@statements, _pause(), rand() < 0.1 ? 'ROLLBACK' : 'COMMIT');
}

sub _exception_blocks
{
	my ($self) = @_;
	my $body = join ' ', map {
		my $actions = join '; ', $self->_actions(2);
		my $raise = rand() < 0.4 ? "RAISE 'taken back';" : '';
		"BEGIN $actions; $raise EXCEPTION WHEN raise_exception OR unique_violation OR lock_not_available THEN NULL; END;"
	} 1 .. 1 + int rand 3;
	return "DO \$model\$ BEGIN $body END \$model\$";
}

sub _prepare
{
	my ($self, $number) = @_;
	my $name = "$self->{number}-$self->{seed}-$number";
	push @{ $self->{prepared} }, $name;
	return ('BEGIN', $self->_actions(3), rand() < 0.3 ? ('SAVEPOINT s', $self->_actions(2), rand() < 0.5 ? 'ROLLBACK TO s' : 'RELEASE s') : (),
		"PREPARE TRANSACTION '$name'");
}

# Those that a dead server has left undecided are left to the test.
sub _decide
{
	my ($self) = @_;
	return $self->_single unless @{ $self->{prepared} };
	my $name = splice @{ $self->{prepared} }, rand @{ $self->{prepared} }, 1;
	return (rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name'";
}

# What the last command's tag says; a session that ends leaves it open.
sub _outcome
{
	my ($self, $output) = @_;
	return 'in doubt' unless defined $output;
	for my $line (split /\n/, $output)
	{
		next unless $line =~ /^(?:ERROR|FATAL|PANIC):  (\w{5}): (.*)/;
		$self->{report}{errors}{$1}++;
		push @{ $self->{report}{unexpected} }, "$1: $2" unless $1 =~ $expected;
	}
	my $failed = $output =~ /^(?:ERROR|FATAL|PANIC):  /m;
	my ($last) = reverse grep { /^[A-Z]+(?: |$)/ && !/^(?:ERROR|DETAIL|HINT|CONTEXT|LOCATION|LINE|WARNING|NOTICE)/ } split /\n/, $output;
	$last //= '';
	return 'rolled back' if $last =~ /^ROLLBACK/ && !$failed;
	return $last =~ /^(?:COMMIT|PREPARE)/ || !$failed ? 'committed' : 'failed';
}

# Runs STATEMENTS; returns what psql printed, undef when the session ended.
sub _send
{
	my ($self, @statements) = @_;
	my $output = $self->_ask(join ";\n", @statements);
	return $output if defined $output;
	# Until the server is there again, for as long as a recovery may take.
	my $deadline = time() + 60;
	do
	{
		die "no connection to the server\n" if time() > $deadline;
		sleep 0.05;
		$self->_connect;
	} until defined $self->_ask('SELECT 1');
	return undef;
}

sub _connect
{
	my ($self) = @_;
	if (defined $self->{psql})
	{
		close $self->{input};
		close $self->{output};
		waitpid($self->{psql}, 0);
	}
	$self->{psql} = open3($self->{input}, $self->{output}, undef, 'psql', '-X', '-A', '-t', '-v', 'VERBOSITY=verbose',
		"$self->{connection} application_name=client options='-c lock_timeout=40ms -c statement_timeout=20s -c deadlock_timeout=20ms'");
	return;
}

sub _ask
{
	my ($self, $sql) = @_;
	$self->_connect unless defined $self->{psql};
	my $end = 'end of the transaction';
	print { $self->{input} } "$sql;\n\\echo $end\n" or return undef;
	$self->{input}->flush or return undef;
	my $text = '';
	my $ready = IO::Select->new($self->{output});
	my $deadline = time() + 90;
	while ($ready->can_read($deadline - time()))
	{
		return undef unless sysread($self->{output}, $text, 65536, length $text);
		return undef if $text =~ /connection to server was lost/;
		return $text if $text =~ /^$end$/m;
	}
	die "a transaction does not end: $sql\n";
}

1;
