# What happens to server and ImageKit while the clients of the model test work: death in every form, an operator's hand, answers as
# a bad day brings them, and other sizes and limits of requests.

package ImageKit::ModelDisturbances;

use strict;
use warnings;

use ImageKit::Crash;
use ImageKit::Test;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(sleep time);

# COUNTS what it has done, by name.
sub new { my ($class, $t, $files) = @_; return bless { t => $t, files => $files, counts => {} }, $class; }

sub counts { return $_[0]{counts}; }

# A drain of a session of its own, for as long as it has anything to do.
sub drain_beside
{
	my ($self) = @_;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# Without END blocks: they are the test's.
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', '/dev/null');
		exec('psql', '-X', '-q', $self->{t}->node->connstr('postgres'), '-c', q{SET statement_timeout = '10s'}, '-c', 'CALL imagekit.drain()') or POSIX::_exit(1);
	}
	push @{ $self->{beside} }, $pid;
	$self->{counts}{'CALL drain() beside'}++;
	$self->wait_beside if @{ $self->{beside} } > 3;
	return;
}

sub wait_beside { my ($self) = @_; waitpid($_, 0) for splice @{ $self->{beside} // [] }; return; }

my @deaths = ('kill -9 worker', 'kill -9 worker', 'kill -9 client', 'kill -9 every process', 'immediate stop');

# The server dies once, and is back when this returns. Which process is killed with it is chosen as it runs.
sub death
{
	my ($self) = @_;
	my $how = $deaths[ rand @deaths ];
	my $node = $self->{t}->node;
	if ($how eq 'kill -9 every process') { kill_every_process($node); }
	elsif ($how eq 'immediate stop') { stop_at_once($node); }
	else
	{
		my $whose = $how =~ /worker/ ? q{backend_type = 'imagekit_cleanup worker'} : q{application_name = 'client'};
		my @pids = split /\n/, $self->ask("SELECT pid FROM pg_stat_activity WHERE $whose ORDER BY backend_start");
		return unless @pids;
		$self->{t}->mark_log;
		my $pid = $pids[ rand @pids ];
		# It may have ended by itself by now, or be just ending; then the server goes on.
		return unless kill 'KILL', $pid;
		my $grace = time() + 3;
		wait_for { $self->{t}->log =~ /terminated by signal 9/ || time() > $grace } 'the server has noticed';
		return unless $self->{t}->log =~ /terminated by signal 9/;
		wait_for { $self->{t}->log =~ /database system is ready to accept connections/ } 'the server has restarted itself', 60;
	}
	$self->{counts}{$how}++;
	return;
}

# Answers that are no answers. Those that are executed all the same are the hard ones: the file has gone, and nobody knows.
my @faults = (
	{ kind => 'reset_before' }, { kind => 'reset_before', method => 'DELETE' }, { kind => 'reset_after', method => 'DELETE' },
	{ kind => 'reset_after', method => 'DELETE', count => 10 }, { kind => 'rate_limited', reset => 200 },
	{ kind => 'rate_limited', method => 'DELETE', reset => 100, count => 3 }, { kind => 'text_500' }, { kind => 'text_500', method => 'DELETE', count => 8 },
	{ kind => 'status', status => 503, body => '', count => 4 }, { kind => 'html_502', count => 3 }, { kind => 'html_404' },
	{ kind => 'truncated_json' }, { kind => 'cut_body', method => 'GET', count => 3 }, { kind => 'wrong_content_type' },
	{ kind => 'stall', ms => 3000 }, { kind => 'stall', ms => 2500, method => 'DELETE', late => JSON::PP::true() },
	{ kind => 'stall_after', ms => 3000, method => 'DELETE' }, { kind => 'slow_body', ms => 300 }, { kind => 'latency', ms => 150, count => 20 },
	{ kind => 'unauthorized' }, { kind => 'forbidden' });

sub fault
{
	my ($self) = @_;
	my %rule = %{ $faults[ rand @faults ] };
	$rule{skip} = int rand 5;
	$self->{t}->imagekit->fault(%rule);
	$self->{counts}{"fault $rule{kind}"}++;
	return;
}

# What ImageKit makes of deletes of many, how many requests it wants, and how many files share one by the server's options. Each
# stands until another comes, and in the end all is as usual.
my %usual_switches = (bulk_404 => 'atomic', bulk_omit => 'off', bulk_207_ids => [], bulk_limit => 100);
my %usual_limits = (account => 'acme', read_rate => 0, read_burst => 0, write_rate => 0, write_burst => 0);
my %usual_options = (search_size => 25, bulk_size => 50);
sub _some_of { my ($name, @values) = @_; return sub { return ($name => $values[ rand @values ]); }; }
my @habits = (
	[ switch => _some_of(bulk_404 => 'deletes_found', 'deletes_found', 'atomic') ], [ switch => _some_of(bulk_omit => 'on', 'on_deleted', 'off') ],
	[ switch => sub { return (bulk_207_ids => [ $_[0]->_some_ids ]); } ], [ switch => _some_of(bulk_limit => 1, 2, 5, 30, 100) ],
	[ options => _some_of(bulk_size => 1, 2, 3, 10, 100) ], [ options => _some_of(search_size => 1, 2, 5, 50) ],
	[ limits => sub { return rand() < 0.5 ? (read_rate => 20 + int rand 60, read_burst => 5) : (write_rate => 10 + int rand 40, write_burst => 3); } ]);

sub habit
{
	my ($self) = @_;
	my ($what, $values) = @{ $habits[ rand @habits ] };
	my ($name, $value, @more) = $values->($self);
	if ($what eq 'switch') { $self->{t}->imagekit->switch($name => $value); }
	elsif ($what eq 'limits') { $self->{t}->imagekit->limits(%usual_limits, $name => $value, @more); }
	else { $self->{t}->messages("SET lock_timeout = '300ms'; " . _set_options($name => $value)); }
	$self->{counts}{ "$what $name" . (ref $value ? '' : $what eq 'limits' ? '' : " $value") }++;
	return;
}

sub _set_options { my (%options) = @_; return 'ALTER SERVER acme OPTIONS (' . join(', ', map { "SET $_ '$options{$_}'" } sort keys %options) . ')'; }

# fileIds of some files of this round, most of them still there.
sub _some_ids
{
	my ($self) = @_;
	my $last = $self->{files}->last;
	return map { $self->{files}->id($last - int rand($last < 400 ? $last : 400)) } 1 .. 10 + int rand 60;
}

# Gentler hands. What an operator asks to be deleted is what rows hold, or held a moment ago.
my $some_urls = q{(SELECT coalesce(array_agg(url), '{}') FROM (
	SELECT url FROM (SELECT unnest(images) AS url FROM gallery UNION ALL SELECT url FROM pairs UNION ALL SELECT unnest(images) FROM parts UNION ALL SELECT url FROM pins) a
	WHERE url NOT LIKE '%/unreadable/%' ORDER BY random() LIMIT 15) u)};
my @hands = (
	[ 'terminated worker' => q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'} ],
	[ 'terminated client' => q{SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 1) a} ],
	[ 'cancelled client' => q{SELECT pg_cancel_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 1) a} ],
	[ 'CALL drain(20)' => 'CALL imagekit.drain(20)' ],
	[ 'CALL drain()' => q{SET statement_timeout = '3s'; CALL imagekit.drain()} ],
	[ 'terminated drain' => q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL imagekit.drain%' OR backend_type = 'imagekit_cleanup worker'} ],
	[ 'delete_files() of rows' => "SELECT count(*) FROM imagekit.delete_files($some_urls)" ],
	[ 'enqueue() of rows' => "SELECT imagekit.enqueue($some_urls)" ],
	[ 'disable() and enable()' => 'SELECT imagekit.disable(); SELECT pg_sleep(0.2); SELECT imagekit.enable()' ],
	[ 'VACUUM' => 'VACUUM gallery, docs, pages, parts, pairs' ],
	[ 'VACUUM FULL' => 'VACUUM FULL parts' ],
	[ 'CHECKPOINT' => 'CHECKPOINT' ],
	[ 'COMMIT PREPARED of another' => q{SELECT format('COMMIT PREPARED %L', gid) FROM pg_prepared_xacts WHERE prepared < now() - interval '1 second' \gexec} ],
	[ 'approve() of a table' => q{SELECT imagekit.approve(relation => 'gallery')} ],
	[ 'reload' => 'SELECT pg_reload_conf()' ]);

sub hand
{
	my ($self) = @_;
	my ($name, $sql) = @{ $hands[ rand @hands ] };
	# May fail: it meets locks, and other hands.
	$self->{t}->messages("SET lock_timeout = '300ms'; SET statement_timeout = '20s'; $sql");
	$self->{counts}{$name}++;
	return;
}

# Ends whatever of it goes on by itself.
sub quiet
{
	my ($self) = @_;
	my $imagekit = $self->{t}->imagekit;
	$imagekit->no_faults;
	$imagekit->release;
	$imagekit->switch(latency_ms => 0, index_delay_deleted_ms => 0, %usual_switches);
	$imagekit->limits(%usual_limits);
	$self->wait_beside;
	wait_for { $imagekit->stalled == 0 } 'no request is held';
	$self->ask('SELECT imagekit.enable(); ' . _set_options(%usual_options));
	return;
}

# What is held, if anything is.
sub approve
{
	my ($self) = @_;
	my $let_go = $self->ask(q{SELECT imagekit.approve(server => 'acme') WHERE EXISTS (SELECT FROM imagekit.backlog WHERE state = 'held')});
	$self->{counts}{'files approved'} += $let_go || 0;
	return;
}

# Prepared transactions that nobody decides any more, as after the death of a transaction manager.
sub decide_prepared
{
	my ($self) = @_;
	for my $name (split /\n/, $self->ask('SELECT gid FROM pg_prepared_xacts ORDER BY gid'))
	{
		$self->ask((rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name'");
	}
	return;
}

# SQL that must succeed, once the server is there again.
sub ask
{
	my ($self, $sql) = @_;
	my ($status, $output, $errors);
	for (1 .. 200)
	{
		($status, $output, $errors) = $self->{t}->node->psql('postgres', $sql, on_error_stop => 1);
		return $output if $status == 0;
		die "$sql: $errors\n" if $status == 3;
		sleep 0.1;
	}
	die "the server does not come back: $errors\n";
}

1;
