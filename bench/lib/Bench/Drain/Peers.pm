# What an application would do instead, in Node with the official SDK: bench/peers. npm fetches what they need.

package Bench::Drain::Peers;

use strict;
use warnings;

use Bench::Drain::Stage;
use Bench::Emulator;
use IPC::Open2;
use JSON::PP;
use Time::HiRes qw(sleep time);

my $directory = 'bench/peers';

# Their trigger on queued.patches: one job a file.
my $enqueue = q{
	CREATE FUNCTION queued.enqueue() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
	  PERFORM graphile_worker.add_job('delete_image', json_build_object('url', url))
	  FROM unnest(OLD.images || (OLD.schema->>'imageUrl')) AS url;
	  RETURN NULL;
	END $$;
	CREATE TRIGGER enqueue AFTER DELETE ON queued.patches FOR EACH ROW EXECUTE FUNCTION queued.enqueue();
};

# STAGE: a Bench::Drain::Stage. Dies when they cannot be installed, and says why.
sub new
{
	my ($class, $stage) = @_;
	for my $program (qw(node npm))
	{
		die "there is no $program\n" if system("command -v $program >/dev/null 2>&1") != 0;
	}
	my $log = "$stage->{server}{scratch}/npm.log";
	system("cd $directory && { [ node_modules/.package-lock.json -nt package-lock.json ] || "
		  . "timeout 300 npm ci --no-audit --no-fund --loglevel=error >$log 2>&1; }") == 0
	  or die "npm ci failed in $directory: " . (_first_line($log) || 'it says nothing') . "\n";
	@ENV{qw(IMAGEKIT_PRIVATE_KEY IMAGEKIT_API_URL)} = ($Bench::Emulator::KEY, $stage->emulator->url);
	my $self = bless { stage => $stage }, $class;
	system('node', "$directory/queue.mjs", 'install') == 0 or die "graphile-worker does not install its schema\n";
	$stage->server->sql($enqueue);
	return $self;
}

# The application's own way, on own.patches as filled with FILES files. Returns what _reckon() does.
sub own_way
{
	my ($self, $files) = @_;
	my $pid = open2(my $output, my $input, 'node', "$directory/own_way.mjs", $Bench::Drain::Stage::FIRST_STAYING);
	close $input;
	my $said = do { local $/; <$output> };
	waitpid($pid, 0);
	die "own_way.mjs ended with status $?\n" if $?;
	return $self->_reckon($files, decode_json($said)->{failed});
}

# The same in a queue, on queued.patches; until the last file has gone.
sub queue
{
	my ($self, $files) = @_;
	my $pid = open2(my $output, my $input, 'node', "$directory/queue.mjs");
	close $input;
	my $said = <$output> // '';
	die "queue.mjs does not start: $said\n" unless $said eq "ready\n";
	my $stage = $self->{stage};
	my $gone = eval {
		$stage->server->sql($stage->delete_sql('queued.patches'));
		$stage->wait_until_gone('/bulk');
		1;
	};
	my $error = $@;
	kill 'TERM', $pid;
	waitpid($pid, 0);
	die $error unless $gone;
	my $failed = $stage->server->sql(q{SELECT count(*) FROM graphile_worker.jobs WHERE attempts > 1});
	return $self->_reckon($files, $failed);
}

# {files, deleted, failed, seconds, rate}: files deleted a second, from the first request to the last one's answer.
sub _reckon
{
	my ($self, $files, $failed) = @_;
	my $rates = $self->{stage}->emulator->rates;
	my $seconds = ($rates->{all}{ended_us} - $rates->{all}{first_us}) / 1e6;
	return { %$rates, files => $files, failed => $failed, seconds => $seconds, rate => $rates->{deleted} / $seconds };
}

sub _first_line
{
	my ($file) = @_;
	open(my $in, '<', $file) or return '';
	chomp(my $line = <$in> // '');
	return $line;
}

1;
