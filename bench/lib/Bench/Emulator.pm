# The emulator of ImageKit as a benchmark needs it: a program of its own, filled by the hundred thousand, that says how
# many requests came and when. test/emulator/README.md describes the control API.

package Bench::Emulator;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(sleep time);

our $KEY = 'private_bench';

# Files were uploaded long before their rows went: what is younger is kept.
my $uploaded = '2020-01-01';

# PROGRAM: the emulator; SCRATCH: a directory. It ends when this process does.
sub start
{
	my ($class, $program, $scratch) = @_;
	my $port_file = "$scratch/emulator.port";
	my @command = ($program, '--port-file', $port_file, '--parent-pid', $$, '--account', "acme:$KEY");
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null') && open(STDOUT, '>', "$scratch/emulator.log") && open(STDERR, '>&', \*STDOUT)
		  && exec(@command);
		POSIX::_exit(127);
	}
	my $deadline = time() + 20;
	until (-s $port_file)
	{
		die "the emulator does not start\n" if time() > $deadline || waitpid($pid, POSIX::WNOHANG) == $pid;
		sleep 0.02;
	}
	open(my $in, '<', $port_file) or die "$port_file: $!\n";
	chomp(my $port = <$in>);
	# No proxy: it is on this machine, whatever http_proxy says.
	my $http = HTTP::Tiny->new(timeout => 120, proxy => undef, http_proxy => undef, https_proxy => undef);
	return bless { port => $port, url => "http://127.0.0.1:$port", http => $http }, $class;
}

sub url { return $_[0]{url}; }

sub port { return $_[0]{port}; }

sub ask
{
	my ($self, $method, $call, $body) = @_;
	my $answer = $self->{http}->request($method, "$self->{url}/_control/$call",
		defined $body ? { content => encode_json($body) } : {});
	die "emulator: $method $call: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return decode_json($answer->{content});
}

# Empties the library and the journal, and sets what the next run is measured under.
# OPTIONS: latency_ms, and limits => {read_rate, read_burst, write_rate, write_burst}.
sub renew
{
	my ($self, %options) = @_;
	$self->ask(POST => 'reset');
	$self->ask(POST => 'switches', { latency_ms => $options{latency_ms} // 5 });
	$self->ask(POST => 'limits', $options{limits}) if $options{limits};
	return;
}

# COUNT files at PREFIX/dDDDD/fNNNNNNN.jpg, numbered from FIRST on.
sub fill
{
	my ($self, $prefix, $first, $count, $folders) = @_;
	$self->ask(POST => 'seed_many',
		{ prefix => $prefix, first => $first, count => $count, folders => $folders, createdAt => $uploaded });
	return;
}

sub count { return $_[0]->ask(GET => "count?prefix=$_[1]")->{count}; }

# [path, fileId] of all files under PREFIX. Not by a JSON parser: there may be many.
sub file_ids
{
	my ($self, $prefix) = @_;
	my $text = $self->{http}->get("$self->{url}/_control/files?limit=10000000&prefix=$prefix")->{content};
	my @ids;
	while ($text =~ /(\{[^}]*\})/g)
	{
		my $file = $1;
		push @ids, [ map { $file =~ /"$_":"([^"]+)"/ } qw(filePath fileId) ];
	}
	return @ids;
}

sub forget_requests { $_[0]->ask(DELETE => 'journal'); return; }

# What the requests since then add up to; see "Rates" in the emulator's README.
sub rates
{
	my ($self, $bucket_ms) = @_;
	my $rates = $self->ask(GET => 'rates?bucket_ms=' . ($bucket_ms // 0));
	die "the emulator has not counted all requests\n" if $rates->{dropped};
	return $rates;
}

# Entries of the journal, from SINCE on. OPTIONS: method, limit.
sub journal
{
	my ($self, $since, %options) = @_;
	my $filter = join('', map { "&$_=$options{$_}" } sort keys %options);
	return @{ $self->ask(GET => "journal?since=$since$filter")->{entries} };
}

sub last_request { return $_[0]->ask(GET => 'health')->{last_seq}; }

1;
