# No file that a row uses is ever called an orphan, none that nobody uses is passed over, and only URLs without a file dangle: whatever
# an application does meanwhile, whatever ImageKit answers, and wherever the audit is broken off. It goes on where it was, and until it
# is complete the views say what they said before.
#
#   IMAGEKIT_FILES=1000000   how many files the library has; the default is small
#   IMAGEKIT_SEED=number     repeats the choices, though not what comes between them

use strict;
use warnings;

use ImageKit::AuditModel;
use ImageKit::AuditTraffic;
use ImageKit::Test;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $files = $ENV{IMAGEKIT_FILES} // 30_000;
my $seed = $ENV{IMAGEKIT_SEED} // (time() ^ $$) % 1_000_000;
my $patience = 60 + $files / 1000;
srand($seed);
note "IMAGEKIT_SEED=$seed IMAGEKIT_FILES=$files";

my $lag = 500;    # ms that ImageKit's search is behind
my $t = ImageKit::Test->new(settings => {
	restart_after_crash => 'on', track_commit_timestamp => 'on', log_min_error_statement => 'panic', shared_buffers => '64MB', max_wal_size => '4GB',
	'imagekit_cleanup.request_timeout' => '3s', 'imagekit_cleanup.retry_delay_max' => '300ms', 'imagekit_cleanup.max_attempts' => 1_000_000,
	'imagekit_cleanup.search_lag' => "'" . 2 * $lag . "ms'" });
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->sql("ALTER SERVER acme OPTIONS (ADD url_aliases '$ImageKit::AuditModel::ALIAS', ADD audit_share '1', ADD hold_above 'off', ADD hold_fraction 'off')");
my $model = ImageKit::AuditModel->new($t, $files);
my $began = time();
$model->create;
note sprintf 'made in %.1f s', time() - $began;
$imagekit->switch(index_delay_new_ms => $lag, index_delay_deleted_ms => $lag, latency_ms => 3);

# Audits ------------------------------------------------------------------------------------------------------------------

my ($calls, @running) = (0);

# CALL imagekit.audit(ARGUMENTS) in a session of its own.
sub start_audit
{
	my ($arguments) = @_;
	my $said = PostgreSQL::Test::Utils::tempdir() . '/' . ++$calls;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# Without END blocks: they are the test's.
		open(STDOUT, '>', $said) && open(STDERR, '>&', \*STDOUT)
		  && exec('psql', '-X', '-q', $node->connstr('postgres') . ' application_name=audit', '-c', "CALL imagekit.audit($arguments)");
		POSIX::_exit(127);
	}
	return { pid => $pid, said => $said };
}

sub ended { my ($audit) = @_; return $audit->{ended} ||= waitpid($audit->{pid}, POSIX::WNOHANG) == $audit->{pid}; }
sub said { my ($audit) = @_; wait_for { ended($audit) } 'the audit ends', $patience; return slurp_file($audit->{said}); }

# Like sql(), and after a crash as soon as the server is there again.
sub ask
{
	my ($sql) = @_;
	return wait_for { my ($status, $output) = $node->psql('postgres', $sql); $status == 0 ? [$output] : undef; } 'the server answers', 60;
}

sub backend { return ask(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'audit'})->[0]; }
sub state { return ask('SELECT state FROM imagekit.audit_runs ORDER BY id DESC LIMIT 1')->[0]; }

# Kills it, or tells it to go.
sub strike
{
	my ($how, $pid) = @_;
	return if $pid eq '';
	if ($how eq 'kill -9')
	{
		$t->mark_log;
		return unless kill 'KILL', $pid;
		my $grace = time() + 3;
		wait_for { $t->log =~ /terminated by signal 9/ || time() > $grace } 'the server has noticed';
		wait_for { $t->log =~ /database system is ready to accept connections/ } 'the server has restarted itself', 60 if $t->log =~ /terminated by signal 9/;
	}
	else { $t->messages("SELECT pg_${how}_backend($pid)"); }
	return;
}

# Broken off HOW while it asks for the page after SKIP others. True when it was.
sub break_at_page
{
	my ($audit, $how, $skip) = @_;
	my $fault = $imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', skip => $skip);
	wait_for { $imagekit->stalled > 0 || ended($audit) } 'a page is asked for', $patience;
	my $held = !ended($audit);
	strike($how, backend()) if $held;
	$imagekit->no_faults;
	$imagekit->release;
	return $held;
}

# Broken off HOW at a step.
sub break_at_step
{
	my ($audit, $how, $step) = @_;
	wait_for { state() eq $step || ended($audit) } "the step $step", $patience;
	my $there = !ended($audit);
	strike($how, backend()) if $there;
	return $there;
}

# Called until it is complete, each time disturbed by one of DISTURBANCES: code that is given the audit. Before the last call the views
# are what they were. Returns what the last call said.
sub audit_disturbed
{
	my ($what, @disturbances) = @_;
	$imagekit->forget;
	my $views = $model->views;
	my $run = ask('SELECT max(id) FROM imagekit.audit_runs')->[0] || 0;
	my ($anew, $untouched, @kept) = ('NULL, true', 1);
	for (1 .. @disturbances + 6)
	{
		my $audit = start_audit($anew);
		my $disturbance = shift @disturbances;
		$disturbance->($audit) if $disturbance;
		my $said = said($audit);
		$imagekit->no_faults;
		my ($id, $state) = split /\|/, ask('SELECT id, state FROM imagekit.audit_runs ORDER BY id DESC LIMIT 1')->[0];
		if ($state eq 'complete' && $id > $run)
		{
			ok($untouched, "$what: the views stay as they are until an audit is complete") if @kept;
			return $said;
		}
		push @kept, $said;
		$untouched &&= $model->views eq $views;
		# One that was ended before it had begun a run.
		$anew = '' if $id > $run;
	}
	die "$what: the audit does not become complete: @kept\n";
}

# All that an audit that has just been completed must have said.
sub check
{
	my ($what) = @_;
	my @pages = $imagekit->pages;
	my ($at, $files_listed, $pages) = split /\|/, $t->sql('SELECT extract(epoch FROM compared_at), files, pages FROM imagekit.audits ORDER BY id DESC LIMIT 1');
	is_deeply([ $model->wrong_orphans ], [], "$what: no file that a row used when the tables were read is an orphan");
	is_deeply([ $model->overtaken($pages[ @pages / 2 ]{wall_ms} / 1000) ], [], "$what: nor one that came into use while the library was listed");
	is_deeply([ $model->lost ], [], "$what: each file that nobody ever used is one");
	is($model->dangling, $model->expected_dangling, "$what: what dangles is what has no file");
	cmp_ok(scalar(grep { $_->{wall_ms} / 1000 < $at } @pages), '>', 0.8 * $pages, "$what: the tables are read when the library is listed");
	cmp_ok(scalar(grep { $_->{wall_ms} / 1000 >= $at + 2 * $lag / 1000 } @pages), '>=', 1, "$what: and what is new is listed when the search must know it");
	note sprintf '%s: %d files, %d pages of %d, %.1f s so far; %s', $what, $files_listed, scalar @pages, $pages, time() - $began,
	  $t->sql('SELECT count(*) || $$ orphans$$ FROM imagekit.orphans');
	return scalar @pages;
}

my $processes = 3;
my $directory = PostgreSQL::Test::Utils::tempdir();
my @traffic = map {
	ImageKit::AuditTraffic->start(
		number => $_, of => $processes, seed => $seed + $_, model => $model, directory => $directory, connection => $node->connstr('postgres'))
} 1 .. $processes;

# Without any disturbance but the traffic; its memory.
my %memory;
like(audit_disturbed('at first', sub {
	my ($audit) = @_;
	my $pid = wait_for { backend() } 'the session of the audit';
	until (ended($audit))
	{
		my $status = eval { slurp_file("/proc/$pid/status") } // last;
		my ($kb) = $status =~ /^RssAnon:\s+(\d+) kB/m or last;
		$memory{first} //= $kb;
		$memory{peak} = $kb if $kb > ($memory{peak} // 0);
		sleep 0.01;
	}
}), qr/NOTICE:  imagekit_cleanup: audit of server "acme": \d+ files/, 'an audit beside traffic is completed');
my $needed = check('at first');
cmp_ok(($memory{peak} - $memory{first}) / 1024, '<', 64, 'in 64 MB of memory');
note sprintf 'memory: %.0f MB', ($memory{peak} - $memory{first}) / 1024;

# Broken off at random pages; what is listed once is not listed again.
{
	my $last = int(0.9 * $needed);
	my @breaks = sort { $a <=> $b } map { 2 + int rand($last - 2) } 1 .. 6;
	my @how = ('kill -9', 'terminate', 'cancel', 'kill -9', 'terminate', 'cancel');
	my ($at, $anew) = (0, 0);
	my @disturbances = map {
		my ($how, $page) = ($how[$_], $breaks[$_]);
		my $skip = $page - $at;
		($at, $anew) = ($page, $anew + $page);
		sub { break_at_page($_[0], $how, $skip); }
	} 0 .. $#breaks;
	audit_disturbed('broken off', @disturbances);
	my $pages = check('broken off');
	# A second with very many files is listed anew from its beginning.
	my $crowd = ($model->crowd)[1] - ($model->crowd)[0];
	my $most = $needed + @breaks * (3 + $crowd / 950);
	cmp_ok($pages, '<', $most, 'an audit that is broken off goes on where it was: ' . "$pages pages, where $needed are needed, and " . ($anew + $needed) . ' if it began anew each time');
}

# At the steps that follow.
audit_disturbed('at its steps', map { my ($how, $step) = @$_; sub { break_at_step($_[0], $how, $step) } }
	[ 'kill -9', 'references' ], [ 'terminate', 'tail' ], [ 'cancel', 'tail' ], [ 'terminate', 'comparing' ], [ 'kill -9', 'comparing' ]);
check('at its steps');

# Answers that are none. Some stop it, some make it wait, and from some it goes on at once.
my @faults = (
	[ kind => 'rate_limited', reset => 200, count => 3 ], [ kind => 'text_500' ], [ kind => 'html_502', count => 2 ], [ kind => 'reset_before' ],
	[ kind => 'reset_after' ], [ kind => 'truncated_json' ], [ kind => 'cut_body' ], [ kind => 'stall', ms => 4000 ], [ kind => 'slow_body', ms => 300 ],
	[ kind => 'wrong_content_type', count => 5 ], [ kind => 'forbidden' ], [ kind => 'html_404', count => 3 ]);
my @some = $files > 100_000 ? @faults : (sort { rand() <=> 0.5 } @faults)[ 0 .. 3 ];
audit_disturbed('bad answers', map { my @fault = @$_; sub { $imagekit->fault(@fault, contains => 'ASC_CREATED', skip => 1 + int rand($needed / 2)) } } @some);
check('bad answers (' . join(', ', map { $_->[1] } @some) . ')');

# Traffic ends -------------------------------------------------------------------------------------------------------------

my (%kinds, %errors, @unexpected);
for my $traffic (@traffic)
{
	my $result = $traffic->stop;
	$kinds{$_} += $result->{kinds}{$_} for keys %{ $result->{kinds} };
	$errors{$_} += $result->{errors}{$_} for keys %{ $result->{errors} };
	push @unexpected, @{ $result->{unexpected} };
}
sub list { my (%counts) = @_; return join ', ', map { "$_ $counts{$_}" } sort keys %counts; }
note 'traffic: ' . list(%kinds);
note 'errors: ' . list(%errors);
is_deeply(\@unexpected, [], 'no statement of the traffic fails for a reason that is not among clients');
for my $kind (qw(upload delete move partition swap adopt shuttle)) { cmp_ok($kinds{"$kind: committed"} // 0, '>', 3, "there was traffic: $kind"); }
eventually { $t->sql('SELECT count(*) FROM imagekit.pending') } '0', 'the queue becomes empty', 120;
is_deeply([ $model->used_and_gone ], [], 'every file that a row uses is there');
my @crashes = grep { /TRAP:|PANIC:|was terminated by signal (?!9:)/ } split /\n/, slurp_file($node->logfile);
is_deeply(\@crashes, [], 'and nothing died but what was killed');
is($t->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left behind');

done_testing();
