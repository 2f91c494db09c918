# Carries a case out: fills, runs and counts, variant by variant in random order, round by round.
#
# Each way of measuring returns {unit, figures => {name => {variant => [a figure per round]}}}; the case says which figure
# it is about, "time" if it says nothing. No run counts whose capture is not complete.

package Bench::Measure;

use strict;
use warnings;

use Bench::Model qw(fill);
use Bench::Statistics qw(fine_median median);
use Bench::Variants qw(variant variants);
use Exporter 'import';
use List::Util qw(max shuffle);

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
		for my $variant (variants())
		{
			fill($server, 9, $variant, child => $case->{child});
			my $expected = $variant->{name} eq 'none' ? '' : _list($server, "SELECT unnest($case->{removes}) AS url FROM patches");
			$server->sql($case->{statement});
			my $captured = _list($server, $variant->{captured});
			die "$variant->{name} is broken: from \"$case->{statement}\" of ten rows it captured\n$captured\nnot\n$expected\n"
			  if $captured ne $expected;
		}
	}
	return;
}

sub _list
{
	my ($server, $urls) = @_;
	return $server->sql(qq{SELECT string_agg(url, E'\\n' ORDER BY url COLLATE "C") FROM ($urls) AS found});
}

sub _statements
{
	my ($server, $case, $scale, $progress) = @_;
	my %figures;
	_rounds($case, $scale->{rounds}, $progress, sub {
		my ($variant) = @_;
		my $run = _run_statement($server, $case, $variant, $scale->{rows});
		push @{ $figures{time}{ $variant->{name} } }, $run->{ms};
		push @{ $figures{cpu}{ $variant->{name} } }, $run->{cpu_ms};
		push @{ $figures{wal}{ $variant->{name} } }, $run->{wal_bytes} / 1e6;
	});
	return { unit => 'ms', figures => \%figures };
}

sub _transactions
{
	my ($server, $case, $scale, $progress) = @_;
	my %figures;
	_rounds($case, $scale->{rounds}, $progress, sub {
		my ($variant) = @_;
		my $run = _run_transactions($server, $case, $variant, $scale->{rows}, $scale->{transactions});
		push @{ $figures{time}{ $variant->{name} } }, $run->{us};
		push @{ $figures{cpu}{ $variant->{name} } }, $run->{cpu_us};
	});
	return { unit => 'us', figures => \%figures };
}

# Once per variant: it does not vary from run to run, and takes minutes.
sub _memory
{
	my ($server, $case, $scale, $progress) = @_;
	my %figures;
	_rounds($case, 1, $progress, sub {
		my ($variant) = @_;
		my $run = _run_statement($server, $case, $variant, $scale->{memory_rows}, watch_memory => 1);
		$figures{memory}{ $variant->{name} } = [ $run->{anon_kb} * 1024 / 1e6 ];
		$figures{temp_files}{ $variant->{name} } = [ $run->{temp_bytes} / 1e6 ];
		$figures{time}{ $variant->{name} } = [ $run->{ms} ];
	});
	return { unit => 'MB', rows => $scale->{memory_rows}, figures => \%figures };
}

# The figure of a run: median latency of its last transactions divided by that of its first (but not the very first,
# which fill caches), in windows of a thirtieth of the session. What the growth of tables costs is in the figure of no
# trigger as well, and so goes out of the quotient of the two.
sub _session
{
	my ($server, $case, $scale, $progress) = @_;
	my $transactions = $scale->{session_transactions};
	my $window = int($transactions / 30);
	my %growth;
	_rounds($case, $scale->{rounds}, $progress, sub {
		my ($variant) = @_;
		my $run = _run_transactions($server, $case, $variant, $scale->{rows}, $transactions, log => 1);
		my @latencies = @{ $run->{latencies} };
		my $first = int($window / 2);
		push @{ $growth{ $variant->{name} } },
		  fine_median(@latencies[ -$window .. -1 ]) / fine_median(@latencies[ $first .. $first + $window - 1 ]);
	});
	return { unit => 'last/first', figures => { growth => \%growth } };
}

# Small tables are measured more often, large ones less: what they take is so much shorter, or steadier.
sub _linear
{
	my ($server, $case, $scale, $progress) = @_;
	my @sizes;
	for my $rows (@{ $scale->{linear_rows} })
	{
		my %times;
		my $rounds = $rows <= 10_000 ? 2 * $scale->{rounds} : $rows <= 100_000 ? $scale->{rounds} : 3;
		_rounds($case, $rounds, sub { $progress->("$rows rows, $_[0]") }, sub {
			my ($variant) = @_;
			push @{ $times{ $variant->{name} } }, _run_statement($server, $case, $variant, $rows)->{ms};
		});
		push @sizes, { rows => $rows, times => \%times };
	}
	return { unit => 'ms', sizes => \@sizes };
}

sub _rounds
{
	my ($case, $rounds, $progress, $run) = @_;
	my @variants = $case->{variants} ? map { variant($_) } @{ $case->{variants} } : variants();
	for my $round (1 .. $rounds)
	{
		for my $variant (shuffle @variants)
		{
			$progress->("round $round of $rounds, $variant->{name}");
			$run->($variant);
		}
	}
	return;
}

sub _run_statement
{
	my ($server, $case, $variant, $rows, %options) = @_;
	fill($server, $rows, $variant, child => $case->{child});
	my $run = $server->time_statement($case->{statement}, $warm_up, synchronous_commit => 'off', %options);
	_expect($server, $case, $variant, $rows * $case->{urls_per_row} + $urls_of_warm_up);
	return $run;
}

sub _run_transactions
{
	my ($server, $case, $variant, $rows, $transactions, %options) = @_;
	fill($server, max($transactions, $rows), $variant);
	my $run = $server->time_transactions($case->{transactions}, $case->{clients} // 1, $transactions,
		synchronous_commit => $case->{synchronous_commit} // 'off', %options);
	_expect($server, $case, $variant, $transactions * $case->{urls_per_row});
	return $run;
}

sub _expect
{
	my ($server, $case, $variant, $urls) = @_;
	return if $variant->{name} eq 'none';
	my $captured = $server->sql("SELECT count(*) FROM ($variant->{captured}) AS captured");
	die "$case->{id}: $variant->{name} captured $captured URLs, not $urls\n" if $captured != $urls;
	return;
}

1;
