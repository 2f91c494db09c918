# What the benchmark prints: a table per case as soon as it is measured, and at the end one line per verdict.

package Bench::Report;

use strict;
use warnings;

use Bench::Variants qw(variant);
use Exporter 'import';

our @EXPORT_OK = qw(case_table linear_table verdict_table);

my @order = qw(none none_again ours plpgsql_row plpgsql_statement);

# RESULT: {case, unit, rounds, summary, cpu, judged, notes}; cpu is the summary of the processor times, where they were
# taken; judged is missing when no verdict is given.
sub case_table
{
	my ($result) = @_;
	my ($case, $summary, $cpu, $rounds) = @{$result}{qw(case summary cpu rounds)};
	my $form = "  %-20s %12s %8s %8s %8s %8s   %s\n";
	my $text = "\n$case->{id}: $case->{title}\n";
	$text .= sprintf $form, '', "median $result->{unit}", 'ratio', 'paired', 'best', 'cpu',
	  $rounds > 1 ? "lowest..highest of $rounds" : 'one run';
	for my $name (grep { $summary->{$_} } @order)
	{
		my $line = $summary->{$name};
		my @ratios = ('') x 5;
		@ratios = (
			(map { _number($_) } @{$line}{qw(ratio paired best)}),
			$cpu ? _number($cpu->{$name}{ratio}) : '',
			_number($line->{lowest}) . '..' . _number($line->{highest})) if $name ne 'none';
		$text .= sprintf $form, variant($name)->{title}, _number($line->{median}), @ratios;
	}
	$text =~ s/ +$//gm;
	$text .= "  $_\n" for @{ $result->{notes} };
	$text .= '  ' . _verdict($result) . "\n" if $result->{judged};
	return $text;
}

# SIZES: [{rows, none, ours, added}], times in ms and added in microseconds per row.
sub linear_table
{
	my ($case, $sizes) = @_;
	my $text = "\n$case->{id}: $case->{title}\n";
	$text .= sprintf "  %10s %12s %12s %14s\n", 'rows', 'no trigger', 'watched', 'added us/row';
	$text .= sprintf "  %10d %9.1f ms %9.1f ms %14.3f\n", @{$_}{qw(rows none ours added)} for @$sizes;
	return $text;
}

sub verdict_table
{
	my (@results) = @_;
	my $text = sprintf "\n%-26s %10s %8s %8s   %s\n", 'case', 'watched', 'bar', 'goal', 'verdict';
	for my $result (grep { $_->{judged} } @results)
	{
		my $case = $result->{case};
		$text .= sprintf "%-26s %10s %8s %8s   %s\n", $case->{id}, _value($result), $case->{bar}, $case->{goal} // '',
		  _word($result);
	}
	return $text;
}

sub _verdict
{
	my ($result) = @_;
	my $case = $result->{case};
	my $limits = join(', ', "bar $case->{bar}", defined $case->{goal} ? "goal $case->{goal}" : ());
	return _word($result) . ': ' . _value($result) . " ($limits)";
}

sub _word
{
	my ($result) = @_;
	my ($verdict, $paired) = @{ $result->{judged} }{qw(verdict paired_verdict)};
	return $verdict . (defined $paired ? ", not certain (by the paired ratio: $paired)" : '');
}

sub _value
{
	my ($result) = @_;
	my $unit = $result->{case}{judge} eq 'ratio' ? 'x' : " $result->{unit}";
	return _number($result->{judged}{value}) . $unit;
}

# Three or four significant digits, as many as the noise leaves.
sub _number
{
	my ($number) = @_;
	my $size = abs $number;
	return sprintf($size >= 100 ? '%.0f' : $size >= 10 ? '%.1f' : '%.3f', $number);
}

1;
