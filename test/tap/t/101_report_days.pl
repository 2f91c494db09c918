# imagekit.report() over many days, of two accounts, against what this test has made up: the queue at every minute and in steps of any
# length, what is queued now by state and age, outcomes, latencies.

use strict;
use warnings;

use ImageKit::Page;
use ImageKit::ReportFigures;
use ImageKit::Test;
use POSIX ();
use Test::More;

my $OTHER = 'https://ik.imagekit.io/other';
my %endpoints = (acme => $ENDPOINT, other => $OTHER);
my $today = begin_of_today();

# What is made up -------------------------------------------------------------------------------------------------------------

# In a database that sends nothing, so that all there is was made up here.
my $t = ImageKit::Test->new(ready => 0, settings => { 'imagekit_cleanup.history_retention' => 45 });
$t->prepare(enable => 0, server => { grace_period => '1 hour' });
$t->sql("CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$OTHER')");

# [account, since, until, outcome, origin]; without the last three what is queued now.
srand 101;
my @made;
for my $n (1 .. 200)
{
	my $until = $today - 86_400 * (1 + $n % 95) + int(rand 86_000) + 0.25;
	push @made, [ qw(acme acme other)[ $n % 3 ], $until - ($n % 7 ? int(rand 8_000) + 0.5 : int(86_400 * rand 30) + 0.5), $until, (qw(deleted kept deleted not_found))[ $n % 4 ], (qw(D U H E))[ $n % 5 % 4 ] ];
}
# A day of so many that each hundredth is one of them.
push @made, map { [ 'acme', $today - 3 * 86_400 + 40_000.25 - 3_600 - 10 * $_, $today - 3 * 86_400 + 40_000.25, 'deleted', 'D' ] } 1 .. 100;

# How many of each state are queued now, since so many hours.
my @hours = (0.5, 5, 48, 240);
my %queued = (
	acme => { waiting => [ 2, 3, 1, 4 ], retrying => [ 3, 1, 2, 5 ], held => [ 0, 2, 6, 1 ], failed => [ 40, 30, 20, 14 ] },
	other => { waiting => [ 1, 0, 0, 2 ], retrying => [ 0, 0, 1, 0 ], held => [ 1, 0, 0, 0 ], failed => [ 0, 0, 3, 0 ] });
my $now = time();
my $queue_sql = '';
for my $account ('acme', 'other')
{
	for my $state (qw(waiting retrying held failed))
	{
		for my $age (0 .. 3)
		{
			my ($captured, $files) = ($now - 3_600 * $hours[$age], $queued{$account}{$state}[$age]);
			push @made, map { [ $account, $captured ] } 1 .. $files;
			$queue_sql .= "INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at, state, attempts, last_error)
				SELECT '$endpoints{$account}/$state$age-' || n || '.jpg', s.oid, pg_current_xact_id(), 0, 10, 'D', to_timestamp($captured), now(), '$state', 3, 'made up'
				FROM generate_series(1, $files) n JOIN pg_foreign_server s ON s.srvname = '$account';\n";
		}
	}
}
$t->sql($queue_sql . join('', map { my ($account, $since, $until, $outcome, $by) = @$_;
	"INSERT INTO imagekit.history (url, server, outcome, origin, relation, captured_at, settled_at) VALUES ('$endpoints{$account}/made.jpg', '$account', '$outcome', '$by', 'public.patches', to_timestamp($since), to_timestamp($until));\n" }
	grep { $_->[2] } @made));
# Some that nobody has looked at yet, and some in a drain's hands.
$t->sql(qq{INSERT INTO patches VALUES (1, '{$ENDPOINT/journal1.jpg, $ENDPOINT/journal2.jpg}'); DELETE FROM patches; UPDATE imagekit.outbox SET captured_at = to_timestamp(@{[ $now - 3_600 * 5 ]});
	INSERT INTO imagekit.claims (ids, urls, file_ids, servers, transactions, relations, roles, origins, captured, due, attempts, in_doubt, approved, last_errors)
	  SELECT '{1,2}', '{a,b}', '{NULL,NULL}', ARRAY[s.oid, s.oid], '{5,5}', '{0,0}', '{10,10}', '{D,D}', ARRAY[c.at, c.at], ARRAY[c.at, c.at], '{1,2}', '{f,f}', '{f,f}', '{NULL,NULL}'
	  FROM pg_foreign_server s, (SELECT to_timestamp(@{[ $now - 3_600 * 48 ]}) AS at) c WHERE s.srvname = 'acme'});
push @made, (map { [ 'acme', $now - 3_600 * 5 ] } 1 .. 2), (map { [ 'acme', $now - 3_600 * 48 ] } 1 .. 2);
$queued{acme}{waiting}[1] += 2;
$queued{acme}{$_}[2]++ for 'waiting', 'retrying';

# What the page says ----------------------------------------------------------------------------------------------------------

sub page_of { my ($arguments) = @_; return ImageKit::Page->new($t->sql("SELECT imagekit.report($arguments)") . "\n"); }

# The chart of so many days, in steps of so many minutes, by these spans.
sub queue_is
{
	my ($page, $name, $days, $minutes, $until, @spans) = @_;
	my $first = $today - ($days - 1) * 86_400;
	# What each full minute adds and takes away.
	my @change = (0) x (($until - $first) / 60 + 2);
	for my $span (grep { ($_->[4] // '') ne 'H' } @spans)
	{
		my ($from, $to) = map { defined $_ ? POSIX::ceil(($_ - $first) / 60) : @change - 1 } @$span[ 1, 2 ];
		next if $to <= 0 || $from >= $to;
		$change[ $from < 0 ? 0 : $from ]++;
		$change[ $to > $#change ? $#change : $to ]--;
	}
	my ($waiting, @days, @steps) = (0);
	for my $minute (0 .. int(($until - $first) / 60))
	{
		$waiting += $change[$minute];
		for my $most (\$days[ $minute / 1440 ], \$steps[ $minute / $minutes ]) { $$most = $waiting if $waiting > ($$most // -1); }
	}
	my ($at) = sort { $steps[$b] <=> $steps[$a] || $a <=> $b } 0 .. $#steps;
	my @scale = scale_of_counts($steps[$at]);
	my $top = $scale[-1] =~ tr/,//dr;
	is(join("\n", table($page->by_id('queue'))), join("\n", 'day | most at once', map { my $most = $days[ $days - 1 - $_ ]; $most ? day($_) . " | {$most}" : () } 0 .. $days - 1), "$name: the most at any minute of each day");
	my ($line) = map { $_->attribute('d') } grep { $_->attribute('class') eq 'l1' } $page->by_id('queue')->all('path');
	is(join(' ', map { sprintf('%.1f', $_) } $line =~ /(?:M0 |V)([\d.]+)/g), join(' ', map { sprintf('%.1f', 180 - sprintf('%.1f', 180 * $_ / $top)) } @steps), "$name: drawn in steps of $minutes minutes");
	chart_says($page, 'queue', name => $name, title => 'Queue', label => 'files', scale => \@scale, days => $days == 1 ? [ '00:00', '06:00', '12:00', '18:00', '00:00' ] : [ first_days($days) ],
		text => 'An area under steps. Most: ' . with_commas($steps[$at]) . ' files, on ' . at($first + 60 * $minutes * $at) . ". Last: $steps[-1].");
	return;
}

my $first = $today - 89 * 86_400;
for my $of ('acme', 'other', 'both')
{
	my $page = page_of(($of eq 'both' ? 'NULL' : "'$of'") . ', 90');
	my $until = written($page);
	like(bytes(($page->all('header'))[0]->words), qr/ \xc2\xb7 \{90\} days, of which imagekit\.history keeps \{45\} State/, "$of: of which days, and what is kept of them");
	my @mine = grep { $of eq 'both' || $_->[0] eq $of } @made;
	queue_is($page, "queue, $of", 90, 180, $until, @mine);
	my @accounts = $of eq 'both' ? ('acme', 'other') : $of;
	my %names = (waiting => 'wait for their turn or their grace', retrying => 'are tried again', held => 'held: need your word', failed => 'failed: need a person');
	my @queued;
	for my $state (qw(waiting retrying held failed))
	{
		my @ages = map { my $age = $_; sum(map { $queued{$_}{$state}[$age] } @accounts) } 0 .. 3;
		my ($oldest) = grep { $ages[$_] } reverse 0 .. 3;
		push @queued, join(' | ', $names{$state}, map { "{$_}" } sum(@ages), @ages) . ' | ' . at($now - 3_600 * $hours[$oldest]);
	}
	is(join("\n", table($page->by_id('waiting'))), join("\n", 'files | in all | up to 1 hour | 1 to 24 hours | 1 to 7 days | longer | the first since', @queued), "queued now, $of: by state and age");
	my $failed = sum(map { @{ $queued{$_}{failed} } } @accounts);
	is(scalar($page->by_id('failed')->all('li')) . join('', map { " $_" } more($page->by_id('failed'))), $failed > 100 ? '100 And {' . ($failed - 100) . '} more.' : $failed, "failed, $of: a hundred, and how many more");

	my (%outcomes, %took);
	for my $row (grep { $_->[2] && $_->[2] >= $first } @mine)
	{
		my $ago = int(($today + 86_399 - $row->[2]) / 86_400);
		$outcomes{$ago}{ $row->[3] }++;
		next if $row->[3] ne 'deleted' || $row->[4] !~ /[DU]/;
		my $took = $row->[2] - $row->[1] - ($row->[0] eq 'acme' ? 3_600 : 0);
		push @{ $took{$ago} }, $took < 0 ? 0 : $took;
	}
	is(join("\n", table($page->by_id('deletions'))), join("\n", 'day | deleted | not found | kept | skipped | cancelled | discarded',
		map { my $day = $outcomes{$_}; day($_) . ' | ' . join(' | ', map { '{' . ($day->{$_} // 0) . '}' } qw(deleted not_found kept skipped cancelled discarded)) } sort { $a <=> $b } keys %outcomes), "deletions, $of: of ninety days");
	# To the microsecond, as PostgreSQL keeps times.
	my @latencies = map { [ $_->[0], map { sprintf('%.3f', $_ =~ /\{(.*)\}/) } @$_[ 1 .. 3 ] ] } grep { $_->[0] ne 'day' } $page->by_id('latency')->rows;
	is(join("\n", map { "@$_" } @latencies), join("\n", map { my $day = $took{$_}; join(' ', day($_), map { sprintf('%.3f', percentile($_, @$day)) } 0.5, 0.95, 0.99) } grep { sum(@{ $took{$_} }) > 0 } sort { $a <=> $b } keys %took),
		"latency, $of: of ninety days, each account by its own grace");
	is(scalar($page->by_id('latency')->all('circle')), 0, "latency, $of: days that lie so close have no dots");
}
for my $range ([ 1, 5 ], [ 7, 15 ], [ 15, 60 ], [ 365, 720 ])
{
	my $page = page_of("'other', $range->[0]");
	unlike(($page->all('header'))[0]->words, qr/imagekit\.history keeps/, "$range->[0] days: all of them are kept") if $range->[0] < 45;
	queue_is($page, "queue, $range->[0] days", @$range, written($page), grep { $_->[0] eq 'other' } @made);
}

done_testing();
