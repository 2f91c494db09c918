# No file that a row uses is ever deleted, and each that no row uses any more is: whatever transactions several clients run at
# once, and whatever dies meanwhile. Random transactions, against a model that knows which file each URL means.
#
#   IMAGEKIT_TRANSACTIONS=20000   how many; the default is short
#   IMAGEKIT_SEED=number          repeats the choices of clients and disturbances. When each of them comes to run cannot be
#                                 repeated, so neither can what they meet.

use strict;
use warnings;

use ImageKit::ModelClient;
use ImageKit::ModelDisturbances;
use ImageKit::ModelFiles;
use ImageKit::ModelTables;
use ImageKit::ModelTruth;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $transactions = $ENV{IMAGEKIT_TRANSACTIONS} // 1500;
my $seed = $ENV{IMAGEKIT_SEED} // (time() ^ $$) % 1_000_000;
srand($seed);
my $clients = 4 + int rand 5;
my $rounds = $transactions < 5000 ? 3 : int($transactions / 2000);
my $each = int($transactions / $rounds / $clients) + 1;
note "IMAGEKIT_SEED=$seed IMAGEKIT_TRANSACTIONS=$transactions: $clients clients, $rounds rounds of $each transactions each";

# As many requests at once as one, or more than there is to ask; and files that are not found are looked up again, or not.
my ($requests, $lag) = ((1, 2, 3, 8, 30)[ rand 5 ], (0, 0, 400)[ rand 3 ]);
note "max_requests $requests, search_lag $lag ms";

my $t = ImageKit::Test->new(
	ready => 0,
	settings => {
		restart_after_crash => 'on', max_prepared_transactions => 100, track_commit_timestamp => 'on', log_min_error_statement => 'panic',
		'imagekit_cleanup.request_timeout' => '2s', 'imagekit_cleanup.retry_delay_max' => '300ms', 'imagekit_cleanup.max_attempts' => 1_000_000,
		'imagekit_cleanup.max_requests' => $requests, 'imagekit_cleanup.search_lag' => "'${lag}ms'" });
my %fast = map { $_ => 1000 } qw(read_rate read_burst write_rate write_burst);
my %sizes = (search_size => 25, bulk_size => 50);
$t->prepare(server => { url_aliases => $ImageKit::ModelFiles::ALIAS, protect => $ImageKit::ModelFiles::PROTECTED, %fast, %sizes });
$t->sql(ImageKit::ModelTables::create_sql());
my $files = ImageKit::ModelFiles->new($t->imagekit);
$files->upload_unreadable;
my $disturbances = ImageKit::ModelDisturbances->new($t, $files);
my $truth = ImageKit::ModelTruth->new($t, $files);
my (%kinds, %errors, @unexpected);

# Every spelling is one that the extension can read; else the model would test nothing.
$t->sql($files->upload(30));
is($t->sql('SELECT count(*), count(imagekit.library_path(url)) FROM model.files CROSS JOIN LATERAL unnest(urls) url') =~ s/^(\d+)\|\1$/equal/r, 'equal',
	'each spelling is one that means a file');

# Pins, which hold their files for a round. A round's first act is to exchange some of them.
sub pins
{
	$t->sql(q{DELETE FROM pins WHERE random() < 0.4});
	my %have = map { $_ => 1 } split /\n/, $t->sql('SELECT id FROM pins');
	my @free = grep { !$have{$_} } 1 .. 8;
	$t->sql($files->upload(scalar @free)) if @free;
	my $file = $files->last - @free;
	for my $id (@free)
	{
		$file++;
		$t->sql("INSERT INTO pins SELECT $id, ARRAY[$file], model.url($file, $file)");
	}
	return split /\n/, $t->sql('SELECT files[1] FROM pins');
}

sub start_clients
{
	my ($round, @pins) = @_;
	my @all;
	for my $number (1 .. $clients)
	{
		my $first = $files->last + 1;
		$t->sql($files->upload($each + 20));
		push @all, ImageKit::ModelClient->start(
			number => $number, seed => $seed * 1000 + $round * 10 + $number, transactions => $each, directory => PostgreSQL::Test::Utils::tempdir(),
			connection => $t->node->connstr('postgres'), fresh => [ $first, $files->last ], pins => \@pins);
	}
	return @all;
}

# Until the clients are done. A death is due when so much is done; the rest comes when it comes.
sub disturb
{
	my (@all) = @_;
	my @deaths = sort { $a <=> $b } map { int rand $each * $clients } 1 .. 1 + int rand 4;
	my $deadline = time() + 300;
	while (grep { !$_->ended } @all)
	{
		if (time() > $deadline) { $_->kill for @all; die "the clients do not end\n"; }
		my $done = 0;
		$done += $_->done for @all;
		if (@deaths && $done >= $deaths[0])
		{
			shift @deaths;
			$disturbances->death;
		}
		my $what = rand;
		if ($what < 0.35) { $disturbances->fault; }
		elsif ($what < 0.5) { $disturbances->hand; }
		elsif ($what < 0.65) { $disturbances->habit; }
		elsif ($what < 0.68) { $disturbances->drain_beside; }
		sleep(rand(0.1));
	}
	return;
}

sub count_up
{
	my (@all) = @_;
	for my $client (@all)
	{
		my $result = $client->result // die "client $client->{number} has failed\n";
		$kinds{$_} += $result->{kinds}{$_} for keys %{ $result->{kinds} };
		$errors{$_} += $result->{errors}{$_} for keys %{ $result->{errors} };
		push @unexpected, @{ $result->{unexpected} };
	}
	return;
}

sub settle
{
	$disturbances->quiet;
	$disturbances->decide_prepared;
	my $left = q{SELECT (SELECT count(*) FROM imagekit.outbox) + (SELECT count(*) FROM imagekit.claims) + (SELECT count(*) FROM imagekit.backlog WHERE state <> 'failed')};
	# In a long run a table loses so much that it is held, and there is an operator who knows that it was meant.
	return if eval { wait_for { $disturbances->approve; $disturbances->ask($left) eq '0' } 'the queue is empty', 60 };
	diag "the queue does not become empty:\n" . $disturbances->ask(q{
		SELECT 'outbox', origin, relation::regclass, captured_at FROM imagekit.outbox;
		SELECT 'backlog', * FROM imagekit.backlog WHERE state <> 'failed' LIMIT 20;
		SELECT 'status', * FROM imagekit.status;
		SELECT 'locks', l.relation::regclass, l.mode, l.pid, l.virtualtransaction FROM pg_locks l WHERE l.relation >= 16384;
		SELECT 'activity', pid, backend_type, state, wait_event, left(query, 100) FROM pg_stat_activity;
		SELECT clock_timestamp()});
	die "the queue does not become empty\n";
}

my $began = time();
my @wrong;
for my $round (1 .. $rounds)
{
	my @pins = pins();
	$t->imagekit->switch(latency_ms => (0, 0, 2)[ rand 3 ], index_delay_deleted_ms => (0, 0, 300)[ rand 3 ]);
	my @all = start_clients($round, @pins);
	disturb(@all);
	count_up(@all);
	my $drained_from = time();
	settle();
	@wrong = $truth->look;
	note sprintf 'round %d: %.1f s so far, %.1f s of it for the last of the queue; %d files used so far, %d deleted',
	  $round, time() - $began, time() - $drained_from, $truth->ever, $truth->deletes;
	last if @wrong;
}

sub list { my (%counts) = @_; return join ', ', map { "$_ $counts{$_}" } sort keys %counts; }
my $done = 0;
$done += $_ for values %kinds;
diag sprintf 'IMAGEKIT_SEED=%d: %d transactions in %.0f s, %d files used, %d deleted', $seed, $done, time() - $began, $truth->ever, $truth->deletes;
note 'transactions: ' . list(%kinds);
note 'errors: ' . list(%errors);
note 'disturbances: ' . list(%{ $disturbances->counts });

is_deeply(\@wrong, [], "no file that a row uses is deleted, and each that none uses any more, by $done transactions") or diag join "\n", map { "VIOLATION after $done transactions: $_" } @wrong;
my %seen;
@unexpected = grep { !$seen{$_}++ } @unexpected;
is_deeply(\@unexpected, [], 'no statement fails for a reason that is not among clients');
my @crashes = grep { /TRAP:|PANIC:|was terminated by signal (?!9:)/ } split /\n/, slurp_file($t->node->logfile);
is_deeply(\@crashes, [], 'and nothing dies but what was killed');
cmp_ok($truth->deletes, '>', $done / 20, 'and there was much to delete');

done_testing();
