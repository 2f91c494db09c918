# What happens to server and ImageKit while the clients of the model test work: death in every form, an operator's hand,
# and answers as a bad day brings them.

package ImageKit::ModelDisturbances;

use strict;
use warnings;

use ImageKit::Crash;
use ImageKit::Test;
use JSON::PP ();
use Time::HiRes qw(sleep time);

# COUNTS what it has done, by name.
sub new { my ($class, $t) = @_; return bless { t => $t, counts => {} }, $class; }

sub counts { return $_[0]{counts}; }

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

# Gentler hands. What an operator asks to be deleted is what rows hold, or held a moment ago.
my $some_urls = q{(SELECT coalesce(array_agg(url), '{}') FROM (
	SELECT url FROM (SELECT unnest(images) AS url FROM gallery UNION ALL SELECT url FROM pairs UNION ALL SELECT unnest(images) FROM parts UNION ALL SELECT url FROM pins) a
	WHERE url NOT LIKE '%/unreadable/%' ORDER BY random() LIMIT 15) u)};
my @hands = (
	[ 'terminated worker' => q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'} ],
	[ 'terminated client' => q{SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 1) a} ],
	[ 'cancelled client' => q{SELECT pg_cancel_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 1) a} ],
	[ 'CALL drain()' => 'CALL imagekit.drain(20)' ],
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
	$imagekit->switch(latency_ms => 0, index_delay_deleted_ms => 0);
	wait_for { $imagekit->stalled == 0 } 'no request is held';
	$self->ask('SELECT imagekit.enable()');
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
