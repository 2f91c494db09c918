# The audit benchmark: how long it takes to compare a library of a million files with a million rows, what memory and disk that
# needs, and whether it keeps to its pace. bench/README.md says what each case measures, and what it does not.
#
# Called by bench/audit, which has made the server. Without --scratch it only checks its options.

use strict;
use warnings;

use Bench::Audit::Cases qw(cases);
use Bench::Audit::Stage;
use Bench::Drain::Cases qw(judge);
use Bench::Drain::Report qw(case_text table);
use Bench::Emulator;
use Bench::Program qw(progress select_cases surroundings write_record);
use Bench::Server;
use Getopt::Long;
use JSON::PP;
use List::Util qw(max);

my $usage = <<'END';
bench/audit [OPTION...], or make bench-audit BENCH_OPTIONS='OPTION...'

  --files N          files in the library, default 1000000
  --rows N           rows that use them, default as many
  --audits N         audits that are timed, default 2
  --seconds N        how long the pace is watched, default 30
  --quick            everything small: does it work? No verdict
  --output FILE      the result as JSON, default build/bench/audit.json
  --check            exit status 1 when a bar is missed or a case fails
  --list             the names of the cases
END

my %options = (output => 'build/bench/audit.json');
GetOptions(\%options, 'files=i', 'rows=i', 'audits=i', 'seconds=i', 'quick', 'output=s', 'check', 'list', 'help', 'scratch=s', 'bindir=s')
  && !@ARGV
  or die $usage;
my %full = (files => 1_000_000, audits => 2, seconds => 30);
my %quick = (files => 20_000, audits => 1, seconds => 5);
my %scale = %{ $options{quick} ? \%quick : \%full };
$scale{$_} = $options{$_} // $scale{$_} for keys %scale;
$full{rows} = $full{files};
$scale{rows} = $options{rows} // $scale{files};
die "every number must be above 0\n" if grep { $_ <= 0 } values %scale;
if ($options{help}) { print $usage; exit 0; }
if ($options{list}) { print map { sprintf "%-20s %s\n", $_->{id}, $_->{title} } cases(); exit 0; }
exit 0 unless $options{scratch};

$SIG{$_} = 'DEFAULT' for qw(INT QUIT); # a shell's background job ignores them otherwise
$SIG{PIPE} = 'IGNORE';
STDOUT->autoflush(1);
my $started = time();

my $server = Bench::Server->new(bindir => $options{bindir}, scratch => $options{scratch});
my $emulator = Bench::Emulator->start('build/emulator/imagekit-emulator', $options{scratch});
my $stage = Bench::Audit::Stage->new($server, $emulator, files => $scale{files}, rows => $scale{rows});
progress("a library of $scale{files} files, and $scale{rows} rows");
$stage->create;

# All of it, as fast as it goes.
my (%figures, @runs, %broken);
for my $number (1 .. $scale{audits})
{
	progress("audit $number of $scale{audits}");
	my $run = $stage->audit(anew => 1);
	push @runs, $run;
	print map { "  $_\n" } @{ $run->{notes} };
}
my ($first) = @runs;
$figures{pages} = $first->{pages} / $first->{seconds}{listing};
$figures{files} = $scale{files} / $first->{seconds}{listing};
$figures{references} = max(map { $_->{seconds}{references} } @runs);
$figures{compare} = max(map { $_->{seconds}{comparing} } @runs);
$figures{memory} = max(map { $_->{memory_mb} } @runs);
$figures{disk} = $stage->disk_mb;

progress('an audit that is broken off, and gone on with');
my $resumed = $stage->resumed_audit;
print map { "  $_\n" } @{ $resumed->{notes} };
$figures{resume} = $resumed->{pages_more};
$figures{resume_ms} = $resumed->{ms};

progress("$scale{seconds} seconds at a limited pace");
my $paced = $stage->paced_audit($scale{seconds});
print map { "  $_\n" } @{ $paced->{notes} };
$figures{pace} = $paced->{share};
$broken{pace} = $paced->{share} > 101;

my $verdict_allowed = !grep { $scale{$_} < $full{$_} } keys %full;
my @results = map {
	my $value = $figures{ $_->{figure} };
	+{ case => $_, value => $value, $verdict_allowed ? (verdict => judge($_, $value, !$broken{ $_->{figure} })) : () }
} cases();
print "\n", table(@results);
print "No verdict where less was measured than by default.\n" unless $verdict_allowed;
my %record = (
	benchmark => 'audit', started => $started, complete => JSON::PP::true, scale => \%scale,
	surroundings => surroundings($server, q{name LIKE 'imagekit_cleanup.%'}),
	measurements => { audits => \@runs, resumed => $resumed, paced => $paced },
	cases => { map { $_->{case}{id} => { %{ $_->{case} }, value => $_->{value}, verdict => $_->{verdict} } } @results });
write_record(\%record, $options{output});
printf "%d s; all runs in %s\n", time() - $started, $options{output};
exit 1 if $options{check} && grep { ($_->{verdict} // '') eq 'MISSED' } @results;
