# The cases of bench/drain: what is measured, and which bar and goal the extension is held to.
#
#   from     the measurement that has the figure; several cases may share one, which is then made once
#   figure   its name there
#   judge    "least": the figure must be at least bar and goal; "most": at most
#   peer     the figure needs a rival in Node

package Bench::Drain::Cases;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(cases judge);

my @cases = (
	{ id => 'unlimited', title => 'files/s without a limit, 5 ms latency, fileIds unknown',
		from => 'unlimited', figure => 'ours', judge => 'least', bar => 4000, goal => 12000 },
	{ id => 'requests', title => 'requests per file, fileIds unknown, names over many folders',
		from => 'unlimited', figure => 'requests_per_file', judge => 'most', bar => 0.06 },
	{ id => 'requests_known', title => 'requests per file, fileIds known',
		from => 'known', figure => 'requests_per_file', judge => 'most', bar => 0.03 },
	{ id => 'requests_known_100', title => 'requests per file, fileIds known, bulk_size 100',
		from => 'known_100', figure => 'requests_per_file', judge => 'most', bar => 0.02 },
	{ id => 'ceiling', title => 'share of 500 files/s, the ceiling under the published limits (%)',
		from => 'limited', figure => 'share', judge => 'least', bar => 90, goal => 97 },
	{ id => 'own_way', title => "times the application's own way in Node, without a limit",
		from => 'unlimited', figure => 'times_own_way', judge => 'least', bar => 4, goal => 12, peer => 1 },
	{ id => 'own_way_limited', title => 'the same under the published limits',
		from => 'limited', figure => 'times_own_way', judge => 'least', bar => 80, goal => 88, peer => 1 },
	{ id => 'queue', title => 'times the same in a queue (graphile-worker), without a limit',
		from => 'unlimited', figure => 'times_queue', judge => 'least', bar => 5, goal => 15, peer => 1 },
	{ id => 'commit_median', title => 'ms from commit to first request, idle worker: median',
		from => 'commits', figure => 'median', judge => 'most', bar => 20, goal => 5 },
	{ id => 'commit_p99', title => 'ms from commit to first request, idle worker: 99th percentile',
		from => 'commits', figure => 'p99', judge => 'most', bar => 100, goal => 20 },
	{ id => 'waiting', title => 'rate with a million files waiting, of that with a thousand (%)',
		from => 'many', figure => 'waiting', judge => 'least', bar => 90, goal => 98 },
	{ id => 'old_snapshot', title => 'rate beside an old snapshot, of that without (%)',
		from => 'many', figure => 'old_snapshot', judge => 'least', bar => 90, goal => 98 },
	{ id => 'memory', title => "the worker's memory after a million files (MB, without shared memory)",
		from => 'many', figure => 'memory', judge => 'most', bar => 64 },
	{ id => 'ten_million', title => 'rate of the first of ten million files waiting, of that with a thousand (%)',
		from => 'most', figure => 'waiting', judge => 'least', bar => 90, goal => 98 },
	{ id => 'ten_million_named', title => 'the same, all of them queued by name (%)',
		from => 'most', figure => 'named', judge => 'least', bar => 90, goal => 98 },
	{ id => 'idle', title => 'SQL statements in an idle hour',
		from => 'idle', figure => 'statements', judge => 'most', bar => 120, goal => 0 },
	{ id => 'busiest_second', title => "requests in any second, of rate + burst, two databases on one account (%)",
		from => 'second', figure => 'share', judge => 'most', bar => 100 });

sub cases { return @cases; }

# "goal", "bar" or "MISSED". KEPT: whether the further conditions hold.
sub judge
{
	my ($case, $value, $kept) = @_;
	my $sign = $case->{judge} eq 'least' ? 1 : -1;
	return 'MISSED' if !$kept || $sign * ($value - $case->{bar}) < 0;
	return defined $case->{goal} && $sign * ($value - $case->{goal}) >= 0 ? 'goal' : 'bar';
}

1;
