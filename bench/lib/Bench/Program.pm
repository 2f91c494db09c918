# What the benchmarks' programs have in common: choosing cases, saying where they are, and what they leave behind.

package Bench::Program;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;

our @EXPORT_OK = qw(progress select_cases surroundings write_record);

# Those of CASES whose names begin with one of PREFIXES, in the order of CASES; dies when one fits none.
sub select_cases
{
	my ($cases, @prefixes) = @_;
	for my $prefix (@prefixes)
	{
		die "no case begins with \"$prefix\"; there are: " . join(' ', map { $_->{id} } @$cases) . "\n"
		  unless grep { index($_->{id}, $prefix) == 0 } @$cases;
	}
	return grep { my $id = $_->{id}; grep { index($id, $_) == 0 } @prefixes } @$cases;
}

# Where it is measured: figures of different surroundings cannot be compared. SETTINGS: which of pg_settings count besides those
# of the command line, as a condition.
sub surroundings
{
	my ($server, $settings) = @_;
	my @settings = split /\n/, $server->sql(qq{
		SELECT name || '=' || current_setting(name) FROM pg_settings
		WHERE source = 'command line' OR $settings ORDER BY name});
	open(my $cpus, '<', '/proc/cpuinfo') or die "/proc/cpuinfo: $!\n";
	my @models = map { /^model name\s*:\s*(.*)/ ? $1 : () } <$cpus>;
	close $cpus;
	chomp(my $cores = `nproc`);
	return {
		cores => $cores + 0,
		cpu => $models[0] // 'unknown',
		server => $server->sql('SELECT version()'),
		extension => $server->sql(q{SELECT extversion FROM pg_extension WHERE extname = 'imagekit_cleanup'}),
		settings => { map { split /=/, $_, 2 } @settings },
	};
}

# RECORD, with the seconds since its `started`, as JSON in FILE: whole, or as it was before.
sub write_record
{
	my ($record, $file) = @_;
	$record->{seconds} = time() - $record->{started};
	open(my $out, '>', "$file.new") or die "$file.new: $!\n";
	print {$out} JSON::PP->new->canonical->pretty->encode($record);
	close $out or die "$file: $!\n";
	rename "$file.new", $file or die "$file: $!\n";
	return;
}

# To stderr: what is going on. On a terminal, passing news overwrite each other; elsewhere they are left out.
sub progress
{
	my ($text, $passing) = @_;
	if ($passing) { print STDERR "\r$text\e[K" if -t STDERR; }
	else { print STDERR "$text\n"; }
	return;
}

1;
