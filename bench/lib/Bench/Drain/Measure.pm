# How fast files go: without a limit and under the published ones, beside the rivals, with much waiting. What the worker
# does besides is measured by Bench::Drain::Watch.
#
# Each measurement returns {figures => {name => value}, runs => what it was reckoned from, notes => [lines], broken =>
# {figure => 1}}; a broken figure has missed a condition that its case demands beyond the bar, and a note says which. A
# figure that could not be had is missing, and {skipped}{figure} says why.

package Bench::Drain::Measure;

use strict;
use warnings;

use Bench::Drain::Client;
use Bench::Drain::Watch;
use Bench::Statistics qw(median);
use Exporter 'import';
use List::Util qw(max min shuffle sum);

our @EXPORT_OK = qw(measure measurements);

# As a third party has published them: reads and writes a second, and how many at once after a pause.
our %PUBLISHED = (read_rate => 40, read_burst => 100, write_rate => 5, write_burst => 20);
# What the account is told then: as much in the long run, and less at once.
our %WITHIN = (read_rate => 40, read_burst => 40, write_rate => 5, write_burst => 8, bulk_size => 100);
my $ceiling = $PUBLISHED{write_rate} * $WITHIN{bulk_size};

my %ways = (
	unlimited => \&_unlimited,
	known => sub { return _known(@_, {}) },
	known_100 => sub { return _known(@_, { bulk_size => 100 }) },
	limited => \&_limited,
	many => \&_many,
	most => \&_most,
	commits => \&Bench::Drain::Watch::commits,
	idle => \&Bench::Drain::Watch::idle,
	second => \&Bench::Drain::Watch::busiest_second);

# STAGE: a Bench::Drain::Stage. SCALE: see bench/drain.pl. PEERS: a Bench::Drain::Peers, or why there is none. PROGRESS:
# called with a word on what is being done.
sub measure
{
	my ($name, $stage, $scale, $peers, $progress) = @_;
	return $ways{$name}->($stage, $scale, $peers, $progress);
}

sub measurements { return sort keys %ways; }

# Ours and the rivals take turns in random order, each round on newly filled tables.
sub _unlimited
{
	my ($stage, $scale, $peers, $progress) = @_;
	$stage->set_options;
	my %variants = (ours => sub { $stage->fill('patches', $scale->{files}); return $stage->drain('patches', $scale->{files}) });
	if (ref $peers)
	{
		my $files = $scale->{peer_files};
		$variants{own_way} = sub { $stage->fill('own.patches', $files); return $peers->own_way($files) };
		$variants{queue} = sub { $stage->fill('queued.patches', $files); return $peers->queue($files) };
	}
	my $result = _side_by_side(\%variants, $scale->{rounds}, $progress);
	my $ours = $result->{runs}{ours};
	$result->{figures}{requests_per_file} = median(map { $_->{requests_per_file} } @$ours);
	push @{ $result->{notes} }, sprintf '%d files a round; ours in %.2f s (median), rivals %d files', $scale->{files},
	  median(map { $_->{seconds} } @$ours), $scale->{peer_files};
	$result->{skipped} = { map { $_ => $peers } qw(times_own_way times_queue) } unless ref $peers;
	return $result;
}

# Requests only: a third of the rounds, for they do not vary.
sub _known
{
	my ($stage, $scale, $peers, $progress, $options) = @_;
	$stage->set_options(%$options);
	$progress->("$scale->{known_files} files");
	$stage->fill('photos', $scale->{known_files});
	my $run = $stage->drain('photos', $scale->{known_files});
	return {
		figures => { requests_per_file => $run->{requests_per_file}, ours => $run->{rate} },
		runs => { ours => [$run] },
		notes => [ sprintf '%d files, %d reads, %d writes, %.0f files/s', $run->{files}, $run->{reads}{requests},
			$run->{writes}{requests}, $run->{rate} ] };
}

# Under the published limits the burst at the beginning is left out, on both sides: what counts is what goes on.
sub _limited
{
	my ($stage, $scale, $peers, $progress) = @_;
	$stage->set_options(%WITHIN);
	my %conditions = (limits => \%PUBLISHED);
	my %variants = (ours => sub {
		$stage->fill('patches', $scale->{limited_files}, %conditions);
		my $run = $stage->drain('patches', $scale->{limited_files});
		$run->{whole_rate} = $run->{rate};
		$run->{rate} = _steady($stage, $WITHIN{write_burst});
		return $run;
	});
	$variants{own_way} = sub {
		$stage->fill('own.patches', $scale->{limited_peer_files}, %conditions);
		my $run = $peers->own_way($scale->{limited_peer_files});
		$run->{whole_rate} = $run->{rate};
		$run->{rate} = _steady($stage, $PUBLISHED{write_burst});
		return $run;
	} if ref $peers;
	my $result = _side_by_side(\%variants, $scale->{limited_rounds}, $progress);
	$result->{figures}{share} = 100 * $result->{figures}{ours} / $ceiling;
	my @ours = @{ $result->{runs}{ours} };
	push @{ $result->{notes} }, sprintf
	  '%d files: %.1f files/s after the burst, %.1f with it (ceiling %d); %d requests refused with a 429, no file failed',
	  $scale->{limited_files}, $result->{figures}{ours}, median(map { $_->{whole_rate} } @ours), $ceiling,
	  max(map { $_->{all}{refused} } @ours);
	push @{ $result->{notes} }, map { sprintf '%s: %d of %d files failed, %d requests refused; %.1f files/s with the burst',
		'own way in Node', $_->{failed}, $_->{files}, $_->{all}{refused}, $_->{whole_rate} } @{ $result->{runs}{own_way} // [] };
	$result->{skipped} = { times_own_way => $peers } unless ref $peers;
	return $result;
}

# Files a second from the end of the BURST first writes that were done to the last one.
sub _steady
{
	my ($stage, $burst) = @_;
	my @writes = grep { $_->{deleted} > 0 } $stage->emulator->journal(0);
	die "only " . @writes . " deletes, of which $burst are burst: more files are needed\n" if @writes < $burst + 10;
	my $files = 0;
	$files += $_->{deleted} for @writes[ $burst .. $#writes ];
	return $files / (($writes[-1]{wall_us} - $writes[ $burst - 1 ]{wall_us}) / 1e6);
}

sub _side_by_side
{
	my ($variants, $rounds, $progress) = @_;
	my %runs;
	for my $round (1 .. $rounds)
	{
		for my $name (shuffle sort keys %$variants)
		{
			$progress->("round $round of $rounds: $name");
			push @{ $runs{$name} }, $variants->{$name}->();
		}
	}
	my %rates = map { my $name = $_; $name => [ map { $_->{rate} } @{ $runs{$name} } ] } keys %runs;
	my %figures = map { $_ => median(@{ $rates{$_} }) } keys %rates;
	my @notes;
	for my $name (grep { $_ ne 'ours' } sort keys %rates)
	{
		$figures{"times_$name"} = $figures{ours} / $figures{$name};
		my @pairs = map { $rates{ours}[$_] / $rates{$name}[$_] } 0 .. $rounds - 1;
		push @notes, sprintf '%s: %.1f files/s, %.1f times (paired %.1f, %.1f..%.1f)', $name, $figures{$name},
		  $figures{"times_$name"}, median(@pairs), min(@pairs), max(@pairs);
	}
	return { figures => \%figures, runs => \%runs, notes => \@notes };
}

# A thousand files, again and again; then a million, without and with a transaction that has been open since before. Beside
# it no dead row can be cleared away: what counts is how many there are, and not for how long. The thousand stand in a table as large
# as the million's: every file is looked for in its index, which takes longer in a larger one, whatever waits.
sub _many
{
	my ($stage, $scale, $peers, $progress) = @_;
	$stage->set_options;
	$progress->('a thousand files, again and again');
	$stage->fill('patches', 1000, staying => int($scale->{many} / 4));
	$stage->fill_parts($scale->{few_runs}, 1000);
	my @few = map { $stage->drain('patches', 1000, part => $_) } 1 .. $scale->{few_runs};

	$progress->("$scale->{many} files");
	$stage->fill('patches', $scale->{many});
	my $memory = Bench::Drain::Watch->memory_of($stage);
	my %drain = (bucket_ms => 250);
	my $plain = $stage->drain('patches', $scale->{many}, %drain, meanwhile => sub { $memory->note });

	$progress->("$scale->{many} files beside an old snapshot");
	$stage->fill('patches', $scale->{many});
	my $client = Bench::Drain::Client->new("$stage->{server}{bindir}/psql");
	$client->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM photos \g /dev/null');
	my $pinned = $stage->drain('patches', $scale->{many}, %drain);
	$client->run('COMMIT');
	$client->close;

	# Again without, so that a machine that becomes slower or faster meanwhile is taken for what it is.
	$progress->("$scale->{many} files again");
	$stage->fill('patches', $scale->{many});
	my $again = $stage->drain('patches', $scale->{many}, %drain);

	my ($few, $many) = (median(map { $_->{rate} } @few), ($plain->{rate} + $again->{rate}) / 2);
	my $last = _last_third($pinned) / ((_last_third($plain) + _last_third($again)) / 2);
	my %figures = (
		few => $few, many => $many, pinned => $pinned->{rate},
		waiting => 100 * $many / $few,
		old_snapshot => 100 * min($pinned->{rate} / $many, $last),
		memory => $memory->last_mb);
	return {
		figures => \%figures,
		runs => { few => \@few, many => [ $plain, $again ], pinned => [$pinned], memory => $memory->samples },
		broken => { $memory->strays_mb > 4 ? (memory => 1) : () },
		notes => [
			sprintf('%.0f files/s with 1000 waiting (median of %d), %.0f and %.0f with %d, %.0f beside an old snapshot',
				$few, scalar @few, $plain->{rate}, $again->{rate}, $scale->{many}, $pinned->{rate}),
			'files/s by tenths: ' . _words($plain) . '; ' . _words($again),
			'beside an old snapshot: ' . _words($pinned) . sprintf('; the last third of that without: %.0f %%', 100 * $last),
			$memory->words ] };
}

# Ten times as many wait, and what is watched is how the first of them leave: all just deleted, beside a thousand in a table as large; and
# all queued by name, where no row ever had them.
sub _most
{
	my ($stage, $scale, $peers, $progress) = @_;
	my ($files, $runs) = (10 * $scale->{many}, $scale->{few_runs});
	my %first = (first => 4 * int($scale->{many} / 8), bucket_ms => 250);
	$stage->set_options;
	$progress->('a thousand files, again and again');
	$stage->fill('patches', 1000, staying => int($files / 4));
	$stage->fill_parts($runs, 1000);
	my @few = map { $stage->drain('patches', 1000, part => $_) } 1 .. $runs;
	$progress->("$files files");
	$stage->fill('patches', $files);
	my $deleted = $stage->drain('patches', $files, %first);

	$progress->('a thousand files by name, again and again');
	$stage->fill('patches', $files + 1000 * $runs, in_rows => 0);
	my @few_named = map { $stage->drain('patches', 1000, enqueue => $files + 1000 * ($_ - 1)) } 1 .. $runs;
	$progress->("$files files by name");
	my $named = $stage->drain('patches', $files, enqueue => 0, %first);

	my @of = ([ 'deleted', \@few, $deleted ], [ 'by name', \@few_named, $named ]);
	my @rates = map { median(map { $_->{rate} } @{ $_->[1] }) } @of;
	return {
		figures => { waiting => 100 * $deleted->{rate} / $rates[0], named => 100 * $named->{rate} / $rates[1] },
		runs => { few => \@few, deleted => [$deleted], few_named => \@few_named, named => [$named] },
		notes => [ map {
			my ($what, $few, $run) = @{ $of[$_] };
			sprintf('%s: %.0f files/s with 1000 waiting (median of %d), %.0f for the first %d of %d', $what, $rates[$_], scalar @$few, $run->{rate}, $first{first}, $files),
			'files/s by tenths of these: ' . _words($run)
		} 0 .. $#of ] };
}

sub _words { my ($run) = @_; return join ' ', map { sprintf '%.0f', $_ } _tenths($run); }

# Files a second while the last three tenths went.
sub _last_third
{
	my ($run) = @_;
	my @tenths = _tenths($run);
	return 3 / sum(map { 1 / $_ } @tenths[ -3 .. -1 ]);
}

# Files a second while each tenth of the files went.
sub _tenths
{
	my ($run) = @_;
	my $tenth = $run->{files} / 10;
	my ($gone, $since, @rates) = (0, 0);
	my $at = 0;
	for my $files (@{ $run->{series} })
	{
		while ($files > 0 && @rates < 10 && $gone + $files >= $tenth * (@rates + 1))
		{
			# Within the bucket, as if evenly.
			my $until = $at + 0.25 * ($tenth * (@rates + 1) - $gone) / $files;
			push @rates, $tenth / max($until - $since, 1e-6);
			$since = $until;
		}
		$gone += $files;
		$at += 0.25;
	}
	return @rates;
}

1;
