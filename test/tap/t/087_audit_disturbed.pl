# No file that a row uses is ever called an orphan, none that nobody uses is passed over, and only URLs without a file dangle: whatever
# an application does meanwhile, whatever ImageKit answers, and wherever the audit is broken off. It goes on where it was, and until it
# is complete the views say what they said before.
#
#   IMAGEKIT_FILES=1000000   how many files the library has; the default is small
#   IMAGEKIT_SEED=number     repeats the choices, though not what comes between them

use strict;
use warnings;

use ImageKit::AuditCall;
use ImageKit::AuditModel;
use ImageKit::AuditTraffic;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $files = $ENV{IMAGEKIT_FILES} // 30_000;
my $seed = $ENV{IMAGEKIT_SEED} // (time() ^ $$) % 1_000_000;
my $patience = 60 + $files / 1000;
srand($seed);
note "IMAGEKIT_SEED=$seed IMAGEKIT_FILES=$files";

my $lag = 300;    # ms that ImageKit's search is behind
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

# Like sql(), and after a crash as soon as the server is there again.
sub ask
{
	my ($sql) = @_;
	return (wait_for { my ($status, $output) = $node->psql('postgres', $sql); $status == 0 ? [$output] : undef; } 'the server answers', 60)->[0];
}

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
	wait_for { $imagekit->stalled > 0 || $audit->ended } 'a page is asked for', $patience;
	my $held = !$audit->ended;
	strike($how, $audit->backend) if $held;
	$imagekit->no_faults;
	$imagekit->release;
	return $held;
}

# Broken off HOW at a step.
sub break_at_step
{
	my ($audit, $how, $step) = @_;
	my $there = $audit->at($step);
	strike($how, $audit->backend) if $there;
	return $there;
}

# Called until it is complete, each time disturbed by one of DISTURBANCES: code that is given the audit. Before the last call the views
# are what they were. Returns what the last call said.
sub audit_disturbed
{
	my ($what, @disturbances) = @_;
	$imagekit->forget;
	my $views = $model->views;
	my $run = ask('SELECT max(id) FROM imagekit.audit_runs') || 0;
	my ($anew, $untouched, @kept) = ('NULL, true', 1);
	for (1 .. @disturbances + 6)
	{
		my $audit = ImageKit::AuditCall->start($t, arguments => $anew, patience => $patience);
		my $disturbance = shift @disturbances;
		$disturbance->($audit) if $disturbance;
		my $said = $audit->said;
		$imagekit->no_faults;
		my ($id, $state) = split /\|/, ask('SELECT id, state FROM imagekit.audit_runs ORDER BY id DESC LIMIT 1');
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

# The last one does nothing but move rows, as fast as it can.
my $processes = 4;
my $directory = PostgreSQL::Test::Utils::tempdir();
my @traffic = map {
	ImageKit::AuditTraffic->start(
		number => $_, of => $processes, only => ($_ == $processes ? qr/move|hand over/ : qr/./), seed => $seed + $_, model => $model, directory => $directory, connection => $node->connstr('postgres'))
} 1 .. $processes;

# Without any disturbance but the traffic; its memory.
my %memory;
like(audit_disturbed('at first', sub {
	my ($audit) = @_;
	my $pid = wait_for { $audit->backend } 'the session of the audit';
	until ($audit->ended)
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

# The files of one second are listed by their positions, which move up when some of them go.
audit_disturbed('files that go', sub {
	my ($audit) = @_;
	my ($first) = $model->crowd;
	$imagekit->fault(kind => 'stall', contains => 'createdAt < ', skip => 2);
	wait_for { $imagekit->stalled > 0 } 'the crowded second is listed', $patience;
	my $gone = $imagekit->remove(map { ImageKit::AuditModel::path($first - $first % 20 + 20 * $_ + 2) } 1 .. 90);
	cmp_ok($gone, '>', 30, 'files go from a second while it is listed');
	$imagekit->switch(index_delay_deleted_ms => 0);
	$imagekit->release;
	$audit->said;
	$imagekit->switch(index_delay_deleted_ms => $lag);
});
check('files that go');

# At the steps that follow.
audit_disturbed('at its steps', map { my ($how, $step) = @$_; sub { break_at_step($_[0], $how, $step) } }
	[ 'kill -9', 'references' ], [ 'terminate', 'tail' ], [ 'cancel', 'tail' ], [ 'terminate', 'comparing' ], [ 'kill -9', 'comparing' ]);
check('at its steps');

# Answers that are none. Some stop it, some make it wait, and from some it goes on at once. One that refuses the rate is always among them.
my @stop = ([ kind => 'forbidden' ], [ kind => 'html_404', count => 3 ]);
my @limited = (kind => 'rate_limited', reset => 200, count => 3);
my @pass = (
	[ kind => 'text_500' ], [ kind => 'html_502', count => 2 ], [ kind => 'reset_before' ], [ kind => 'wrong_content_type', count => 5 ],
	[ kind => 'reset_after' ], [ kind => 'truncated_json' ], [ kind => 'cut_body' ], [ kind => 'stall', ms => 4000 ], [ kind => 'slow_body', ms => 300 ]);
sub any { my ($count, @all) = @_; return $files > 100_000 ? @all : map { splice @all, rand @all, 1 } 1 .. $count; }
my ($stops, $passes) = ([ any(1, @stop) ], [ \@limited, any(1, @pass) ]);
sub plant { $imagekit->fault(@$_, contains => 'ASC_CREATED', skip => 1 + int rand($needed / 3)) for @_; return; }
# Those from which it goes on come in one call: with them it is completed.
audit_disturbed('bad answers', (map { my $fault = $_; sub { plant($fault) } } @$stops), sub { plant(@$passes) });
my $answers = 'bad answers (' . join(', ', map { $_->[1] } @$stops, @$passes) . ')';
my %met = map { $_->{fault} => 1 } $imagekit->pages;
is(join(', ', grep { !$met{$_} } map { $_->[1] } @$stops, @$passes), '', "$answers: all of them were met");
is(scalar(grep { $_->{status} == 429 } $imagekit->pages), 3, "$answers: three pages were refused for their rate");
check($answers);

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
# The worker looks at its queue again and again, under a lock for as long as that takes.
eventually { $t->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) } '0', 'no lock is left behind';

done_testing();
