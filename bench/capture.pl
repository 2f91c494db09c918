# The capture benchmark: what a watched table costs the application, beside no trigger and hand-written ones.
#
# Called by bench/run, which has made the server. Without --scratch it only checks its options.

use strict;
use warnings;

use Bench::Cases qw(cases);
use Bench::Measure qw(check_variants measure);
use Bench::Model qw(create_database row_bytes);
use Bench::Program qw(progress select_cases surroundings write_record);
use Bench::Report qw(case_table linear_table verdict_table);
use Bench::Server;
use Bench::Statistics qw(judge median summarise);
use Bench::Variants qw(variants);
use Getopt::Long;
use JSON::PP;

my $usage = <<'END';
bench/run [OPTION...], or make bench-capture BENCH_OPTIONS='OPTION...'

  --cases LIST       only the cases whose names begin so, with commas: bulk_update,memory; --list names them
  --rounds N         runs of each variant in each case, default 7; below 7 no verdict is given
  --memory-rows N    rows of the DELETE whose memory is watched, default 5000000; below that no verdict on it
  --quick            3 rounds, fewer rows and transactions: does it work? No verdict
  --output FILE      the result as JSON, default build/bench/capture.json
  --check            exit status 1 when a bar is missed
  --list             the names of the cases
END

my $least_rounds = 7;
my $least_memory_rows = 5_000_000;

my %options = (output => 'build/bench/capture.json');
GetOptions(\%options, 'cases=s', 'rounds=i', 'memory-rows=i', 'quick', 'output=s', 'check', 'list', 'help', 'scratch=s',
	'bindir=s')
  && !@ARGV
  or die $usage;
my @cases = defined $options{cases} ? select_cases([cases()], split /,/, $options{cases}) : cases();
my %scale = (
	rounds => $options{rounds} // ($options{quick} ? 3 : $least_rounds),
	memory_rows => $options{'memory-rows'} // ($options{quick} ? 200_000 : $least_memory_rows),
	$options{quick}
	? (rows => 10_000, transactions => 2_000, session_transactions => 3_000, linear_rows => [ 1_000, 10_000 ])
	: (rows => 100_000, transactions => 20_000, session_transactions => 30_000,
		linear_rows => [ 1_000, 10_000, 100_000, 1_000_000 ]));
die "--rounds and --memory-rows must be at least 1\n" if $scale{rounds} < 1 || $scale{memory_rows} < 1;
if ($options{help}) { print $usage; exit 0; }
if ($options{list}) { print map { sprintf "%-26s %s\n", $_->{id}, $_->{title} } @cases; exit 0; }
exit 0 unless $options{scratch};

$SIG{$_} = 'DEFAULT' for qw(INT QUIT); # a shell's background job ignores them otherwise
STDOUT->autoflush(1);
my $started = time();
my $seed = $started % 1_000_000;
srand($seed);

my $server = Bench::Server->new(bindir => $options{bindir}, scratch => $options{scratch});
create_database($server, variants());
progress('does each variant capture what it should?');
check_variants($server, cases());
my %record = (
	benchmark => 'capture',
	started => $started,
	seed => $seed,
	complete => JSON::PP::false,
	surroundings => {
		%{ surroundings($server, q{name IN ('data_checksums', 'full_page_writes', 'wal_init_zero')}) },
		row_bytes => row_bytes($server) },
	scale => \%scale,
	cases => {});

my %measured;
my @results;
for my $number (0 .. $#cases)
{
	my $case = $cases[$number];
	my @remaining = map { $_->{id} } @cases[ $number + 1 .. $#cases ];
	my $prefix = sprintf '[%d/%d] %s', $number + 1, scalar @cases, $case->{id};
	progress("$prefix; then " . (join(' ', @remaining) || 'done'));
	my $source = $case->{how} eq 'of' ? (grep { $_->{id} eq $case->{of} } cases())[0] : $case;
	$measured{ $source->{id} } //= measure($server, $source, \%scale, sub { progress("$prefix: $_[0]", 1) });
	progress('', 1);
	report($case, $measured{ $source->{id} });
}
$record{complete} = JSON::PP::true;
write_record(\%record, $options{output});

print verdict_table(@results) if grep { $_->{judged} } @results;
print "\nNo verdict: it takes $least_rounds rounds, and not --quick.\n" unless verdicts_allowed();
printf "\n%d s; all runs in %s\n", time() - $started, $options{output};
exit 1 if $options{check} && grep { $_->{judged} && $_->{judged}{verdict} eq 'MISSED' } @results;

sub report
{
	my ($case, $measured) = @_;
	my $entry = { title => $case->{title}, %$measured };
	if ($case->{how} eq 'linear')
	{
		$entry->{sizes} = added_per_row($measured);
		print linear_table($case, $entry->{sizes});
	}
	else
	{
		my $figure = $measured->{figures}{ $case->{figure} // 'time' };
		my $result = {
			case => $case,
			unit => $case->{unit} // $measured->{unit},
			rounds => scalar @{ $figure->{ours} },
			summary => summarise($figure),
			notes => [],
		};
		$result->{cpu} = summarise($measured->{figures}{cpu}) if $measured->{figures}{cpu} && !$case->{figure};
		my %conditions = conditions($case, $measured, $result);
		$result->{judged} = judge($case, $result->{summary}, %conditions) if verdict_allowed($case);
		push @results, $result;
		print case_table($result);
		$entry = { %$entry, (map { $_ => $result->{$_} } qw(unit summary cpu notes)),
			judge => $case->{judge}, bar => $case->{bar}, goal => $case->{goal}, %{ $result->{judged} // {} } };
	}
	$record{cases}{ $case->{id} } = $entry;
	write_record(\%record, $options{output});
	return;
}

# What a case demands beyond its bar, and the notes that show it.
sub conditions
{
	my ($case, $measured, $result) = @_;
	my %median = map { $_ => $result->{summary}{$_}{median} } keys %{ $result->{summary} };
	my %conditions;
	if (my $times = $case->{times_plpgsql})
	{
		my ($row, $statement) = map { $median{$_} / $median{ours} } qw(plpgsql_row plpgsql_statement);
		push @{ $result->{notes} }, sprintf 'PL/pgSQL takes %.1f times as long by row (bar: at least %d), %.1f by statement',
		  $row, $times, $statement;
		$conditions{plpgsql} = $row >= $times;
	}
	if (my $temp_files = $measured->{figures}{temp_files})
	{
		my $written = $temp_files->{ours}[0];
		push @{ $result->{notes} }, sprintf '%d rows; temporary files: %.1f MB (bar: none)', $measured->{rows}, $written;
		$conditions{temp_files} = $written == 0;
	}
	return %conditions;
}

# The sizes of the case "linear", and that of "memory_5m" when it was measured too.
sub added_per_row
{
	my ($measured) = @_;
	my @sizes = map { [ $_->{rows}, $_->{times} ] } @{ $measured->{sizes} };
	if (my $memory = $measured{memory_5m}) { push @sizes, [ $memory->{rows}, $memory->{figures}{time} ]; }
	return [ map {
		my ($rows, $times) = @$_;
		my ($none, $ours) = map { median(@{ $times->{$_} }) } qw(none ours);
		{ rows => $rows, none => $none, ours => $ours, added => ($ours - $none) * 1000 / $rows, runs => $times };
	} @sizes ];
}

sub verdicts_allowed { return !$options{quick} && $scale{rounds} >= $least_rounds; }

sub verdict_allowed
{
	my ($case) = @_;
	return verdicts_allowed() && ($case->{how} ne 'memory' || $scale{memory_rows} >= $least_memory_rows);
}
