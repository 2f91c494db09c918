# Carries a case out: fills, runs and counts, variant by variant in random order, round by round.
#
# Each way of measuring returns {unit, figures => {name => {variant => [a figure per round]}}}; the case says which figure
# it is about, "time" if it says nothing. No run counts whose capture is not complete.

package Bench::Measure;

use strict;
use warnings;

use Bench::Model qw(fill search_path);
use Bench::Statistics qw(median);
use Bench::Variants qw(variant variants);
use Exporter 'import';
use List::Util qw(max shuffle sum);

our @EXPORT_OK = qw(check_variants measure);

my %ways = (
	statement => \&_statements,
	transactions => \&_transactions,
	memory => \&_memory,
	session => \&_session,
	linear => \&_linear);

# Row 0 warms each session up, by being deleted.
my $warm_up = 'DELETE FROM patches WHERE id = 0';
my $urls_of_warm_up = 4;

# SCALE: rounds, rows, transactions, session_transactions, memory_rows, linear_rows. PROGRESS: called with a word on
# what has been done.
sub measure
{
	my ($server, $case, $scale, $progress) = @_;
	return $ways{ $case->{how} }->($server, $case, $scale, $progress);
}

# Dies unless each variant captures exactly what the statements of CASES take out of ten rows.
sub check_variants
{
	my ($server, @cases) = @_;
	for my $case (grep { $_->{how} eq 'statement' } @cases)
	{
		fill($server, 9, [ variants() ], child => $case->{child});
		for my $variant (grep { $_->{captured} } variants())
		{
			my $path = search_path($variant);
			my $expected = _list($server, "SELECT unnest($case->{removes}) AS url FROM patches", $path);
			$server->sql($case->{statement}, $path);
			my $captured = _list($server, $variant->{captured}, $path);
			die "$variant->{name} is broken: from \"$case->{statement}\" of ten rows it captured\n$captured\nnot\n$expected\n"
			  if $captured ne $expected;
		}
	}
	return;
}

sub _list
{
	my ($server, $urls, $path) = @_;
	return $server->sql(qq{SELECT string_agg(url, E'\\n' ORDER BY url COLLATE "C") FROM ($urls) AS found}, $path);
}

sub _statements
{
	my ($server, $case, $scale, $progress) = @_;
	my @variants = _variants($case);
	my %figures;
	for my $round (1 .. $scale->{rounds})
	{
		$progress->("round $round of $scale->{rounds}");
		fill($server, $scale->{rows}, \@variants, child => $case->{child});
		for my $variant (shuffle @variants)
		{
			my $run = _run_statement($server, $case, $variant, $scale->{rows});
			push @{ $figures{time}{ $variant->{name} } }, $run->{ms};
			push @{ $figures{cpu}{ $variant->{name} } }, $run->{cpu_ms};
			push @{ $figures{wal}{ $variant->{name} } }, $run->{wal_bytes} / 1e6;
		}
	}
	return { unit => 'ms', figures => \%figures };
}

# The variants take turns several times a round, and the round's figure is the median turn: what else happens on the
# machine comes in bursts, and single-row statements are judged by a few percent.
sub _transactions
{
	my ($server, $case, $scale, $progress) = @_;
	my @variants = _variants($case);
	my $turns = 5;
	my $clients = $case->{clients} // 1;
	my $transactions = int($scale->{transactions} / $turns / $clients) * $clients; # a turn
	my %figures;
	for my $round (1 .. $scale->{rounds})
	{
		$progress->("round $round of $scale->{rounds}");
		fill($server, max($scale->{rows}, $scale->{transactions}), \@variants);
		my %runs;
		for my $turn (0 .. $turns - 1)
		{
			for my $variant (shuffle @variants)
			{
				push @{ $runs{ $variant->{name} } },
				  _run_transactions($server, $case, $variant, $transactions, base => $turn * $transactions);
			}
		}
		for my $variant (@variants)
		{
			_expect($server, $case, $variant, $turns * $transactions * $case->{urls_per_row});
			my @runs = @{ $runs{ $variant->{name} } };
			push @{ $figures{time}{ $variant->{name} } }, median(map { $_->{us} } @runs);
			push @{ $figures{cpu}{ $variant->{name} } }, sum(map { $_->{cpu_us} } @runs) / $turns;
		}
	}
	return { unit => 'us', figures => \%figures };
}

# Once per variant: it does not vary from run to run, and takes minutes.
sub _memory
{
	my ($server, $case, $scale, $progress) = @_;
	my %figures;
	for my $variant (shuffle _variants($case))
	{
		$progress->("$scale->{memory_rows} rows, $variant->{name}");
		fill($server, $scale->{memory_rows}, [$variant]);
		my $run = _run_statement($server, $case, $variant, $scale->{memory_rows}, watch_memory => 1);
		$figures{memory}{ $variant->{name} } = [ $run->{anon_kb} * 1024 / 1e6 ];
		$figures{temp_files}{ $variant->{name} } = [ $run->{temp_bytes} / 1e6 ];
		$figures{time}{ $variant->{name} } = [ $run->{ms} ];
	}
	return { unit => 'MB', rows => $scale->{memory_rows}, figures => \%figures };
}

# One session per variant, all open at once, which take turns of a hundred transactions: whatever slows the machine down
# slows all of them, at the same point of their lives, and goes out of a turn's quotient of two variants. So does what
# the growth of tables costs. A round's figure is the median quotient of the last tenth of the turns divided by that of
# the first tenth (but not the very first turns, which fill caches): by how much a variant has grown dearer.
sub _session
{
	my ($server, $case, $scale, $progress) = @_;
	my @variants = _variants($case);
	my $turn = 100;
	my $window = max(1, int($scale->{session_transactions} / $turn / 10));
	# A bar of 5 % is near what is left of the noise.
	my $rounds = 2 * $scale->{rounds};
	my %growth;
	for my $round (1 .. $rounds)
	{
		$progress->("round $round of $rounds");
		fill($server, max($scale->{rows}, $scale->{session_transactions}), \@variants);
		my %sessions = map {
			$_->{name} => $server->session($case->{prepare}, search_path => search_path($_), synchronous_commit => 'off')
		} @variants;
		my %turns;
		for (my $id = 0; $id < $scale->{session_transactions}; $id += $turn)
		{
			my $script = join('', map { "$case->{execute}($_);\n" } $id + 1 .. $id + $turn);
			push @{ $turns{ $_->{name} } }, $sessions{ $_->{name} }->cpu_of($script) for shuffle @variants;
		}
		$_->close for values %sessions;
		for my $name (map { $_->{name} } @variants)
		{
			_expect($server, $case, variant($name), $scale->{session_transactions} * $case->{urls_per_row});
			my @quotients = map { $turns{$name}[$_] / $turns{none}[$_] } 5 .. $#{ $turns{none} };
			push @{ $growth{$name} }, median(@quotients[ -$window .. -1 ]) / median(@quotients[ 0 .. $window - 1 ]);
		}
	}
	return { unit => 'last/first', figures => { growth => \%growth } };
}

# Small tables are measured more often, large ones less: what they take is so much shorter, or steadier.
sub _linear
{
	my ($server, $case, $scale, $progress) = @_;
	my @variants = _variants($case);
	my @sizes;
	for my $rows (@{ $scale->{linear_rows} })
	{
		my %times;
		my $rounds = $rows <= 10_000 ? 2 * $scale->{rounds} : $rows <= 100_000 ? $scale->{rounds} : 3;
		for my $round (1 .. $rounds)
		{
			$progress->("$rows rows, round $round of $rounds");
			fill($server, $rows, \@variants);
			push @{ $times{ $_->{name} } }, _run_statement($server, $case, $_, $rows)->{ms} for shuffle @variants;
		}
		push @sizes, { rows => $rows, times => \%times };
	}
	return { unit => 'ms', sizes => \@sizes };
}

sub _variants
{
	my ($case) = @_;
	return $case->{variants} ? map { variant($_) } @{ $case->{variants} } : variants();
}

sub _run_statement
{
	my ($server, $case, $variant, $rows, %options) = @_;
	my $run = $server->time_statement($case->{statement}, $warm_up,
		search_path => search_path($variant), synchronous_commit => 'off', %options);
	_expect($server, $case, $variant, $rows * $case->{urls_per_row} + $urls_of_warm_up);
	return $run;
}

sub _run_transactions
{
	my ($server, $case, $variant, $transactions, %options) = @_;
	return $server->time_transactions($case->{transactions}, $case->{clients} // 1, $transactions,
		search_path => search_path($variant), synchronous_commit => $case->{synchronous_commit} // 'off', base => 0, %options);
}

sub _expect
{
	my ($server, $case, $variant, $urls) = @_;
	return unless $variant->{captured};
	my $captured = $server->sql("SELECT count(*) FROM ($variant->{captured}) AS captured", search_path($variant));
	die "$case->{id}: $variant->{name} captured $captured URLs, not $urls\n" if $captured != $urls;
	return;
}

1;
