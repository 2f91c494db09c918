# From raw runs to a verdict. Pure arithmetic, nothing of servers or of output.

package Bench::Statistics;

use strict;
use warnings;

use Exporter 'import';
use List::Util qw(max min);

our @EXPORT_OK = qw(median summarise judge);

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	my $middle = int(@sorted / 2);
	return @sorted % 2 ? $sorted[$middle] : ($sorted[ $middle - 1 ] + $sorted[$middle]) / 2;
}

# RUNS: variant => [a figure per round]. Returns variant => {median} and, against "none": {ratio}, the quotient of the
# medians; {best}, that of the lowest runs; {paired, lowest, highest} of the quotients round by round.
sub summarise
{
	my ($runs) = @_;
	my @none = @{ $runs->{none} };
	my %summary;
	for my $name (keys %$runs)
	{
		my @own = @{ $runs->{$name} };
		my @pairs = map { $own[$_] / $none[$_] } 0 .. $#own;
		$summary{$name} = {
			median => median(@own),
			ratio => median(@own) / median(@none),
			best => min(@own) / min(@none),
			paired => median(@pairs),
			lowest => min(@pairs),
			highest => max(@pairs),
		};
	}
	return \%summary;
}

# What CASE is judged by: {value, verdict}; verdict is "goal", "bar" or "MISSED". CONDITIONS: further conditions that
# must hold, name => boolean. Where the paired ratio, which a machine that grows slower from round to round does not
# disturb, would be judged otherwise, {paired_verdict} says how: then the verdict is not certain.
sub judge
{
	my ($case, $summary, %conditions) = @_;
	my ($ours, $none) = @{$summary}{qw(ours none)};
	my $value = {
		ratio => sub { $ours->{ratio} },
		median => sub { $ours->{median} },
		difference => sub { $ours->{median} - $none->{median} },
	}->{ $case->{judge} }->();
	my $kept = !grep { !$_ } values %conditions;
	my %judged = (value => $value, verdict => _verdict($case, $value, $kept));
	if ($case->{judge} eq 'ratio')
	{
		my $paired_verdict = _verdict($case, $ours->{paired}, $kept);
		$judged{paired_verdict} = $paired_verdict if $paired_verdict ne $judged{verdict};
	}
	return \%judged;
}

sub _verdict
{
	my ($case, $value, $kept) = @_;
	return 'MISSED' if $value > $case->{bar} || !$kept;
	return defined $case->{goal} && $value <= $case->{goal} ? 'goal' : 'bar';
}

1;
