# The throw-away server, driven with psql and pgbench: runs a script, times a statement, counts its WAL, watches the
# memory of its backend. Knows nothing of what is measured.
#
# How to reach the server is in the environment (PGHOST, PGPORT, PGUSER), as bench/run leaves it. Every call is a new
# connection: no run inherits the caches of the run before. Only session() gives one that lasts.

package Bench::Server;

use strict;
use warnings;

use Bench::Session;
use POSIX ();
use Time::HiRes qw(sleep time);

# SCRATCH: a directory for scripts and logs, removed by whoever made it. BINDIR: where psql and pgbench are.
sub new
{
	my ($class, %options) = @_;
	$ENV{PGOPTIONS} = '-c client_min_messages=warning';
	return bless { bindir => $options{bindir}, scratch => $options{scratch} }, $class;
}

# Runs SQL that must not fail; returns what it printed, unaligned. Every statement commits by itself. PATH: the
# search_path, where it is not the default.
sub sql
{
	my ($self, $sql, $path) = @_;
	return $self->_psql((defined $path ? "SET search_path = $path;" : '') . $sql);
}

# The same in another DATABASE.
sub sql_in
{
	my ($self, $database, $sql) = @_;
	return $self->_psql($sql, undef, $database);
}

# Times STATEMENT in a session that has run WARM_UP (so that what a session loads once is not measured).
# OPTIONS: search_path, synchronous_commit => on or off, watch_memory => 1.
# Returns {ms, cpu_ms, wal_bytes}; cpu_ms is the processor time of the backend, which hardly minds what else the machine
# does. With watch_memory also {anon_kb, temp_bytes}: the backend's highest private memory, and what it wrote into
# temporary files.
sub time_statement
{
	my ($self, $statement, $warm_up, %options) = @_;
	my ($pid_file, $cpu_file) = map { "$self->{scratch}/$_" } qw(backend.pid backend.cpu);
	unlink $pid_file, $cpu_file;
	# While the backend waits for us, and its clock stands.
	my $note_cpu = "\\! cat /proc/`tr -d ' ' <$pid_file`/schedstat >>$cpu_file";
	my $temp_bytes = 'SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()';
	my $temp_before = $options{watch_memory} ? $self->sql($temp_bytes) : 0;

	my $anon_kb = 0;
	my $output = $self->_psql(qq{
		SET search_path = $options{search_path};
		SET synchronous_commit = $options{synchronous_commit};
		$warm_up;
		SELECT pg_backend_pid() \\g $pid_file
		SELECT pg_current_wal_insert_lsn() AS before \\gset
		$note_cpu
		\\timing on
		$statement;
		\\timing off
		$note_cpu
		SELECT 'wal ' || (pg_current_wal_insert_lsn() - :'before'::pg_lsn);
		}, $options{watch_memory} ? sub { _note_memory($pid_file, \$anon_kb) } : undef);

	my ($ms) = $output =~ /^Time: ([\d.]+) ms/m or die "psql said nothing of the time: $output";
	my ($wal) = $output =~ /^wal (\d+)$/m or die "no WAL position: $output";
	my ($cpu_before, $cpu_after) = map { (split / /)[0] } split /\n/, _read($cpu_file);
	my %measured = (ms => $ms + 0, wal_bytes => $wal + 0, cpu_ms => ($cpu_after - $cpu_before) / 1e6);
	if ($options{watch_memory})
	{
		die "the backend's memory could not be read from /proc\n" unless $anon_kb;
		$self->_wait_for_backends;
		@measured{qw(anon_kb temp_bytes)} = ($anon_kb, $self->sql($temp_bytes) - $temp_before);
	}
	return \%measured;
}

# Runs a pgbench SCRIPT, prepared, CLIENTS at once, TRANSACTIONS in all. The script finds its client's share of the
# work by :client_id, :share (transactions of a client) and :base, the option "base".
# OPTIONS: base, search_path, synchronous_commit => on or off.
# Returns {us, cpu_us}: microseconds per transaction by the clock and of the backends' processor time.
sub time_transactions
{
	my ($self, $script, $clients, $transactions, %options) = @_;
	my $share = int($transactions / $clients);
	my $file = "$self->{scratch}/transactions.sql";
	_write($file, $script);
	local $ENV{PGOPTIONS} = join(' ', $ENV{PGOPTIONS}, map { "-c $_=$options{$_}" } qw(search_path synchronous_commit));
	my $threads = $clients > 1 ? 2 : 1;
	my $cpu_before = $self->_cpu_of_backends;
	my $output = $self->_run(undef, "$self->{bindir}/pgbench", '-n', '-M', 'prepared', '-c', $clients, '-j', $threads,
		'-t', $share, '-D', 'n=0', '-D', "share=$share", '-D', "base=$options{base}", '-f', $file, 'postgres');

	my $expected = $share * $clients;
	$output =~ m{actually processed: $expected/$expected$}m or die "pgbench did not do all transactions: $output";
	my ($tps) = $output =~ /^tps = ([\d.]+) \(without initial/m or die "pgbench printed no tps: $output";
	my $cpu = $self->_cpu_of_backends - $cpu_before;
	return { us => 1e6 / $tps, cpu_us => 1e6 * $cpu / $expected };
}

# A Bench::Session of this server, which has run PREPARE. OPTIONS: search_path, synchronous_commit => on or off.
sub session
{
	my ($self, $prepare, %options) = @_;
	return Bench::Session->new("$self->{bindir}/psql", $prepare, scratch => $self->{scratch}, %options);
}

# Waits until the backends of earlier calls are gone: they report, and are reckoned up, when they exit, and their
# clients do not wait for that. Without asking the server, for that would take a backend.
sub _wait_for_backends
{
	my ($self) = @_;
	my $deadline = time() + 60;
	while ($self->_client_backends > 0)
	{
		die "a minute has passed, and backends are still there\n" if time() > $deadline;
		sleep 0.002;
	}
	return;
}

# How many there are, by their titles ("postgres: postgres postgres [local] idle"); one that has ended, but which the
# postmaster has not noticed yet, has none, and one that vanishes meanwhile will not be among the children next time.
sub _client_backends
{
	my ($self) = @_;
	my $postmaster = $self->_postmaster;
	my @children = split ' ', _read("/proc/$postmaster/task/$postmaster/children");
	my $count = 0;
	for my $child (@children)
	{
		open(my $in, '<', "/proc/$child/cmdline") or next;
		my $title = <$in> // '';
		$count++ if $title eq '' || $title =~ /\[local\]/;
	}
	return $count;
}

# Seconds of processor time that all backends have used that have ended; the kernel reckons them up for the postmaster.
sub _cpu_of_backends
{
	my ($self) = @_;
	$self->_wait_for_backends;
	my ($user, $system) = (split / /, _read('/proc/' . $self->_postmaster . '/stat') =~ s/^.*\) //sr)[ 13, 14 ];
	return ($user + $system) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub _postmaster
{
	my ($self) = @_;
	my ($pid) = _read("$self->{scratch}/data/postmaster.pid") =~ /^(\d+)/ or die "the server is gone\n";
	return $pid;
}

sub _psql
{
	my ($self, $sql, $while_running, $database) = @_;
	my $file = "$self->{scratch}/script.sql";
	_write($file, $sql);
	return $self->_run($while_running, "$self->{bindir}/psql", '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-f',
		$file, $database // 'postgres');
}

# Runs a program to its end and returns its standard output; its messages are shown only when it fails. WHILE_RUNNING is
# called again and again in the meantime.
sub _run
{
	my ($self, $while_running, @command) = @_;
	my ($output, $messages) = map { "$self->{scratch}/$_" } qw(output messages);
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null') && open(STDOUT, '>', $output) && open(STDERR, '>', $messages) && exec(@command);
		POSIX::_exit(127);
	}
	if ($while_running)
	{
		until (waitpid($pid, POSIX::WNOHANG) == $pid) { $while_running->(); sleep 0.02; }
	}
	else { waitpid($pid, 0); }
	die "$command[0] failed:\n" . _read($messages) . _read($output) if $? != 0;
	chomp(my $text = _read($output));
	return $text;
}

# Raises $$PEAK to what the backend has in private memory now. It may not have begun yet, or be gone already.
sub _note_memory
{
	my ($pid_file, $peak) = @_;
	return unless -s $pid_file;
	my ($pid) = _read($pid_file) =~ /(\d+)/ or return;
	open(my $status, '<', "/proc/$pid/status") or return;
	while (my $line = <$status>)
	{
		$$peak = $1 if $line =~ /^RssAnon:\s+(\d+) kB/ && $1 > $$peak;
	}
	close $status;
	return;
}

sub _write
{
	my ($file, $text) = @_;
	open(my $out, '>', $file) or die "$file: $!\n";
	print {$out} $text;
	close $out or die "$file: $!\n";
	return;
}

sub _read
{
	my ($file) = @_;
	open(my $in, '<', $file) or die "$file: $!\n";
	local $/;
	return scalar(<$in>) // '';
}

1;
