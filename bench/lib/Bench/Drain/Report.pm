# What bench/drain prints: a case's line as soon as it is known, and at the end all of them again as one table.

package Bench::Drain::Report;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(case_text table);

# RESULT: {case, value, verdict}, or {case, skipped => why} or {case, failed => why}.
sub case_text
{
	my ($result) = @_;
	my $case = $result->{case};
	return "$case->{id}: $case->{title}\n  " . _words($result) . "\n";
}

sub table
{
	my (@results) = @_;
	my $text = sprintf "%-20s %10s %8s %8s   %s\n", 'case', 'measured', 'bar', 'goal', 'verdict';
	for my $result (@results)
	{
		my $case = $result->{case};
		my $sign = $case->{judge} eq 'least' ? '>=' : '<=';
		$text .= sprintf "%-20s %10s %8s %8s   %s\n", $case->{id},
		  defined $result->{value} ? number($result->{value}) : '-', "$sign$case->{bar}",
		  defined $case->{goal} ? "$sign$case->{goal}" : '', _verdict($result);
	}
	return $text;
}

sub _words
{
	my ($result) = @_;
	my $case = $result->{case};
	return _verdict($result) unless defined $result->{value};
	my $sign = $case->{judge} eq 'least' ? 'at least' : 'at most';
	return _verdict($result) . ': ' . number($result->{value}) . " ($sign $case->{bar}"
	  . (defined $case->{goal} ? ", goal $case->{goal})" : ')');
}

sub _verdict
{
	my ($result) = @_;
	return "skipped: $result->{skipped}" if defined $result->{skipped};
	return "FAILED: $result->{failed}" if defined $result->{failed};
	return $result->{verdict} // 'no verdict';
}

# Three digits that matter, but never fewer than the whole part has.
sub number
{
	my ($value) = @_;
	return sprintf '%.0f', $value if abs($value) >= 100;
	return sprintf abs($value) >= 10 ? '%.1f' : abs($value) >= 1 ? '%.2f' : '%.3f', $value;
}

1;
