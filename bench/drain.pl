# The drain benchmark: how fast files leave ImageKit when their rows have gone, by how many requests, and what it costs;
# beside what an application would do instead. bench/README.md says what each case measures, and what it does not.
#
# Called by bench/drain, which has made the server. Without --scratch it only checks its options.

use strict;
use warnings;

use Bench::Drain::Cases qw(cases judge);
use Bench::Drain::Measure qw(measure);
use Bench::Drain::Peers;
use Bench::Drain::Report qw(case_text table);
use Bench::Drain::Stage;
use Bench::Emulator;
use Bench::Program qw(progress select_cases surroundings write_record);
use Bench::Server;
use Getopt::Long;
use JSON::PP;
use List::Util qw(max min);

my $usage = <<'END';
bench/drain [OPTION...], or make bench-drain BENCH_OPTIONS='OPTION...'

  --cases LIST       only the cases whose names begin so, with commas: own_way,commit; --list names them
  --files N          files of a drain without a limit, default 40000; the rivals get a tenth
  --limited-files N  files of a drain under the published limits, default 10000; the rival gets a tenth
  --many N           files waiting in the cases of a million, default 1000000; ten times as many in that of ten million
  --rounds N         runs of each variant, default 5; a third under the published limits
  --commits N        commits that are timed, default 200
  --idle-minutes N   how long the idle database is watched, default 4
  --quick            everything small: does it work? No verdict
  --without LIST     server options to leave out, for an extension that lacks them: bulk_size
  --output FILE      the result as JSON, default build/bench/drain.json
  --check            exit status 1 when a bar is missed or a case fails
  --list             the names of the cases
END

my %options = (output => 'build/bench/drain.json');
GetOptions(\%options, 'cases=s', 'files=i', 'limited-files=i', 'many=i', 'rounds=i', 'commits=i', 'idle-minutes=f',
	'quick', 'without=s', 'output=s', 'check', 'list', 'help', 'scratch=s', 'bindir=s')
  && !@ARGV
  or die $usage;
my @cases = defined $options{cases} ? select_cases([cases()], split /,/, $options{cases}) : cases();
my %full = (files => 40_000, limited_files => 10_000, many => 1_000_000, rounds => 5, commits => 200, idle_minutes => 4);
my %quick = (files => 2_000, limited_files => 200, many => 10_000, rounds => 1, commits => 20, idle_minutes => 1);
my %scale = %{ $options{quick} ? \%quick : \%full };
for my $name (keys %scale) { $scale{$name} = $options{ $name =~ tr/_/-/r } // $scale{$name}; }
die "every number must be above 0\n" if grep { $_ <= 0 } values %scale;
# Four files are a row.
$scale{$_} = 4 * max(1, int($scale{$_} / 4)) for qw(files limited_files many);
# Less than this, and no verdict is given on what is measured.
my %least = (unlimited => [qw(files rounds)], known => ['files'], known_100 => ['files'], limited => [qw(limited_files rounds)],
	many => [qw(many rounds)], most => [qw(many rounds)], commits => ['commits'], idle => ['idle_minutes'], second => ['limited_files']);
%scale = (%scale,
	peer_files => max(400, 4 * int($scale{files} / 40)),
	limited_peer_files => max(100, 4 * int($scale{limited_files} / 40)),
	limited_rounds => max(1, int($scale{rounds} / 3)),
	known_files => min(10_000, $scale{files}),
	second_files => min(4_000, $scale{limited_files}),
	few_runs => 3 * $scale{rounds});
if ($options{help}) { print $usage; exit 0; }
if ($options{list}) { print map { sprintf "%-20s %s\n", $_->{id}, $_->{title} } @cases; exit 0; }
exit 0 unless $options{scratch};

$SIG{$_} = 'DEFAULT' for qw(INT QUIT); # a shell's background job ignores them otherwise
$SIG{PIPE} = 'IGNORE';
STDOUT->autoflush(1);
my $started = time();

my $server = Bench::Server->new(bindir => $options{bindir}, scratch => $options{scratch});
my $emulator = Bench::Emulator->start('build/emulator/imagekit-emulator', $options{scratch});
my $stage = Bench::Drain::Stage->new($server, $emulator, without => [ split /,/, $options{without} // '' ]);
$stage->create;
my %record = (
	benchmark => 'drain',
	started => $started,
	complete => JSON::PP::false,
	surroundings => surroundings($server, q{name LIKE 'imagekit_cleanup.%'}),
	scale => \%scale,
	emulator => ceiling_of_emulator(),
	measurements => {},
	cases => {});
my $peers = peers();

my %measured;
my @results;
for my $case (@cases)
{
	my $from = $case->{from};
	unless ($measured{$from})
	{
		progress("$from; " . join(' ', map { $_->{id} } grep { $_->{from} eq $from } @cases));
		$measured{$from} = eval { measure($from, $stage, \%scale, $peers, sub { progress("$from: $_[0]", 1) }) }
		  // { failed => $@ =~ s/\s*\n\s*/; /gr =~ s/; $//r };
		progress('', 1);
		$record{measurements}{$from} = $measured{$from};
		print map { "  $_\n" } @{ $measured{$from}{notes} // [] };
	}
	push @results, result_of($case, $measured{$from});
	print case_text($results[-1]);
	$record{cases}{ $case->{id} } = { %$case, map { $_ => $results[-1]{$_} } grep { $_ ne 'case' } keys %{ $results[-1] } };
	write_record(\%record, $options{output});
}
$record{complete} = JSON::PP::true;
write_record(\%record, $options{output});

print "\n", table(@results);
printf "emulator: %.0f requests/s and %.0f files/s by 8 connections, %.0f and %.0f by 64; 5 ms latency\n",
  map { @{$_}{qw(requests_per_s files_per_s)} } @{ $record{emulator} }{qw(connections_8 connections_64)};
print "No verdict where less was measured than by default.\n" if grep { !verdict_allowed($_) } @cases;
printf "%d s; all runs in %s\n", time() - $started, $options{output};
exit 1 if $options{check} && grep { defined $_->{failed} || ($_->{verdict} // '') eq 'MISSED' } @results;

sub result_of
{
	my ($case, $measured) = @_;
	return { case => $case, failed => $measured->{failed} } if defined $measured->{failed};
	my $value = $measured->{figures}{ $case->{figure} };
	return { case => $case, skipped => $measured->{skipped}{ $case->{figure} } // 'there is no figure' } unless defined $value;
	my $kept = !$measured->{broken}{ $case->{figure} };
	return { case => $case, value => $value, verdict_allowed($case) ? (verdict => judge($case, $value, $kept)) : () };
}

sub verdict_allowed
{
	my ($case) = @_;
	return !grep { $scale{$_} < $full{$_} } @{ $least{ $case->{from} } };
}

# What the emulator can take at the latency of the measurements, by as many connections as the extension has by default,
# and by many.
sub ceiling_of_emulator
{
	my %ceiling;
	for my $connections (8, 64)
	{
		progress("emulator's ceiling, $connections connections", 1);
		my $files = $options{quick} ? 20_000 : 100_000;
		$emulator->renew;
		$emulator->fill('/bulk', 0, $files, $Bench::Drain::Stage::FOLDERS);
		my $said = qx(build/bench/load @{[ $emulator->port ]} $Bench::Emulator::KEY $connections $files);
		die "build/bench/load failed\n" if $?;
		$ceiling{"connections_$connections"} = decode_json($said);
	}
	progress('', 1);
	return \%ceiling;
}

# The rivals, or why there are none.
sub peers
{
	return 'not asked for' unless grep { $_->{peer} } @cases;
	progress('installing the rivals', 1);
	my $installed = eval { Bench::Drain::Peers->new($stage) };
	progress('', 1);
	return $installed if $installed;
	chomp(my $why = $@);
	progress("cases with a rival are skipped: $why");
	return $why;
}
