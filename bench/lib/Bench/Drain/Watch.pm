# What the worker does besides being fast: how soon it begins, what it costs when there is nothing to do, how much memory
# it takes, and whether several keep to one account's pace. Results as in Bench::Drain::Measure.

package Bench::Drain::Watch;

use strict;
use warnings;

use Bench::Drain::Client;
use Bench::Drain::Stage;
use Bench::Statistics qw(median);
use List::Util qw(max);
use Time::HiRes qw(sleep time);

my $mb = 1024; # /proc has kB

# From the return of COMMIT in the client to the arrival of the first request. The worker is there, and idle.
sub commits
{
	my ($stage, $scale, $peers, $progress) = @_;
	$stage->set_options;
	$stage->set('imagekit_cleanup.worker_idle_timeout' => '1h');
	my $emulator = $stage->emulator;
	$stage->fill('patches', 4 * ($scale->{commits} + 1));
	my $client = Bench::Drain::Client->new("$stage->{server}{bindir}/psql");
	my @ms;
	for my $id (0 .. $scale->{commits})
	{
		$progress->("commit $id of $scale->{commits}") if $id % 10 == 0;
		my $since = $emulator->last_request;
		my $returned = $client->run("DELETE FROM patches WHERE id = $id");
		_wait(sub { $emulator->count('/bulk') == 4 * ($scale->{commits} - $id) }, "the files of row $id do not go");
		_wait(sub { $stage->server->sql('SELECT count(*) FROM imagekit.pending') == 0 }, "row $id is not settled");
		my ($first) = $emulator->journal($since, limit => 1);
		# The very first one starts the worker.
		push @ms, 1000 * ($first->{wall_us} / 1e6 - $returned) if $id > 0;
		sleep 0.05 + rand 0.15;
	}
	$client->close;
	$stage->set('imagekit_cleanup.worker_idle_timeout' => undef);
	my @sorted = sort { $a <=> $b } @ms;
	my $p99 = $sorted[ max(0, int(0.99 * @sorted + 0.5) - 1) ];
	return {
		figures => { median => median(@ms), p99 => $p99 },
		runs => { ms => \@ms },
		notes => [ sprintf '%d commits: lowest %.1f, median %.1f, 99th percentile %.1f, highest %.1f ms', scalar @ms, $sorted[0],
			median(@ms), $p99, $sorted[-1] ] };
}

# Statements that the armed database ran while nobody did anything: all levels, as pg_stat_statements counts them, asked
# from another database. Autovacuum rests, so that the transactions are the extension's too.
sub idle
{
	my ($stage, $scale, $peers, $progress) = @_;
	$stage->set_options;
	$stage->fill('patches', 1000);
	$stage->drain('patches', 1000);
	$stage->set('autovacuum' => 'off', 'pg_stat_statements.track' => 'all');
	$stage->server->sql('CREATE DATABASE observer');
	my $observer = sub { return $stage->server->sql_in('observer', $_[0]) };
	$observer->('CREATE EXTENSION pg_stat_statements');
	my $count = sub {
		return split /\|/, $observer->(q{
			SELECT (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
			        WHERE d.datname = 'postgres'),
			  (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'postgres')});
	};
	sleep 10; # a worker has had its time to leave, and to report
	my @before = $count->();
	my $seconds = 60 * $scale->{idle_minutes};
	$progress->("$scale->{idle_minutes} minutes of nothing");
	sleep $seconds;
	my @after = $count->();
	$observer->('DROP EXTENSION pg_stat_statements');
	$stage->server->sql('DROP DATABASE observer');
	$stage->set('autovacuum' => undef, 'pg_stat_statements.track' => 'none');
	my ($statements, $transactions) = map { ($after[$_] - $before[$_]) * 3600 / $seconds } 0, 1;
	return {
		figures => { statements => $statements, transactions => $transactions },
		runs => { before => \@before, after => \@after, seconds => $seconds },
		notes => [ sprintf '%d statements and %d transactions in %g minutes: %.0f and %.0f an hour', $after[0] - $before[0],
			$after[1] - $before[1], $scale->{idle_minutes}, $statements, $transactions ] };
}

# Two databases drain at once for one account. The emulator refuses nothing: it shall see all they would send.
sub busiest_second
{
	my ($stage, $scale, $peers, $progress) = @_;
	my %pace = (read_rate => 40, read_burst => 40, write_rate => 5, write_burst => 8);
	$stage->set_options(%pace);
	my $files = $scale->{second_files};
	my $first = 50_000_000; # its rows: files of other names
	my $server = $stage->server;
	$stage->fill('patches', $files);
	$progress->('a second database, by template');
	$server->sql('SELECT imagekit.disable()');
	_wait(sub { !$stage->worker }, 'the worker does not leave');
	$server->sql('CREATE DATABASE second TEMPLATE postgres');
	$server->sql_in('second', qq{
		SELECT imagekit.enable();
		SET session_replication_role = replica;
		TRUNCATE patches;
		INSERT INTO patches SELECT * FROM made($first, $files / 4, '/second')});
	$server->sql('SELECT imagekit.enable()');
	$stage->emulator->fill('/second', 4 * $first, $files, $Bench::Drain::Stage::FOLDERS);
	$stage->emulator->forget_requests;
	$progress->("2 x $files files");
	$server->sql_in('second', $stage->delete_sql('patches'));
	$server->sql($stage->delete_sql('patches'));
	my $gone = eval { $stage->wait_until_gone($_) for qw(/bulk /second); 1 };
	my $error = $@;
	my $rates = $stage->emulator->rates;
	$server->sql_in('second', 'SELECT imagekit.disable()');
	_wait(sub { $server->sql(q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'second'}) == 0 },
		'its worker does not leave');
	$server->sql('DROP DATABASE second');
	die $error unless $gone;
	my ($reads, $writes) = map { $rates->{$_}{busiest} } qw(reads writes);
	my ($most_reads, $most_writes) = ($pace{read_rate} + $pace{read_burst}, $pace{write_rate} + $pace{write_burst});
	return {
		figures => { share => 100 * max($reads / $most_reads, $writes / $most_writes) },
		runs => { rates => $rates },
		notes => [ "busiest second: $reads reads of at most $most_reads, $writes writes of at most $most_writes" ] };
}

# The worker's memory -----------------------------------------------------------------------------------------------------

# A watch over it; note() is to be called several times a second.
sub memory_of
{
	my ($class, $stage) = @_;
	return bless { stage => $stage, samples => [], last_at => 0 }, $class;
}

# What is shared (RssShmem: the server's buffers, as far as the worker has touched them) is no memory of the worker's.
sub note
{
	my ($self) = @_;
	return 1 if time() < $self->{last_at} + 1;
	$self->{last_at} = time();
	my $status = $self->{pid} && _status($self->{pid});
	unless ($status)
	{
		$self->{pid} = $self->{stage}->worker or return 1;
		$status = _status($self->{pid}) or return 1;
	}
	push @{ $self->{samples} }, { pid => $self->{pid}, %$status };
	return 1;
}

sub samples { return $_[0]{samples}; }

sub last_mb
{
	my ($self) = @_;
	my $last = $self->{samples}[-1] // die "the worker was gone before its memory could be read: more files are needed\n";
	return ($last->{RssAnon} + $last->{RssFile}) / $mb;
}

# How far private memory strays from what it is after the first tenth of the time; of the process that is there at the end.
sub strays_mb
{
	my ($self) = @_;
	my @same = grep { $_->{pid} == $self->{samples}[-1]{pid} } @{ $self->{samples} };
	my ($from, @later) = map { $_->{RssAnon} } @same[ int(@same / 10) .. $#same ];
	return max(map { abs($_ - $from) } $from, @later) / $mb;
}

sub words
{
	my ($self) = @_;
	my $last = $self->{samples}[-1];
	return sprintf('worker: VmRSS %.1f MB = %.1f private (RssAnon) + %.1f of files + %.1f shared buffers it touched; ',
		map { $last->{$_} / $mb } qw(VmRSS RssAnon RssFile RssShmem))
	  . sprintf('from the first tenth of the time on, private memory strays by %.1f MB at most (bar 4)', $self->strays_mb);
}

sub _status
{
	my ($pid) = @_;
	open(my $in, '<', "/proc/$pid/status") or return;
	my %status = map { /^(VmRSS|RssAnon|RssFile|RssShmem):\s+(\d+)/ ? ($1, $2 + 0) : () } <$in>;
	return $status{VmRSS} ? \%status : undef;
}

sub _wait
{
	my ($done, $complaint) = @_;
	my $deadline = time() + 60;
	until ($done->())
	{
		die "$complaint\n" if time() > $deadline;
		sleep 0.02;
	}
	return;
}

1;
