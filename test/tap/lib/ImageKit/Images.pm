# Something that delivers images, for pages in a browser: every path is a picture, and each request a line of its log.
#
#   my $images = ImageKit::Images->start;
#   $images->origin;                     # http://127.0.0.1:PORT
#   $images->asked;                      # "GET /acme/cat.jpg?tr=w-160", ...
#
# The process ends with the test.

package ImageKit::Images;

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Utils;

my $picture = '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="160"><rect width="160" height="160" fill="teal"/></svg>';
my @running;

sub start
{
	my ($class) = @_;
	my $socket = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die "listen: $!";
	my $self = bless { origin => 'http://127.0.0.1:' . $socket->sockport, log => PostgreSQL::Test::Utils::tempdir() . '/images.log' }, $class;
	append_to_file($self->{log}, '');
	my $parent = $$;
	my $pid = fork() // die "fork: $!";
	_serve($socket, $self->{log}, $parent) if $pid == 0;
	push @running, $pid;
	return $self;
}

sub origin { $_[0]{origin} }
sub asked { return split(/\n/, slurp_file($_[0]{log})); }

sub _serve
{
	my ($socket, $log, $parent) = @_;
	# Should the test be killed, so that its END is not run.
	$SIG{ALRM} = sub { POSIX::_exit(0) if getppid() != $parent; alarm 5; };
	alarm 5;
	for (;;)
	{
		my $client = $socket->accept or next;
		my ($request) = (<$client> // '') =~ /^(\S+ \S+)/;
		while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n/; }
		append_to_file($log, ($request // '?') . "\n");
		print $client "HTTP/1.1 200 OK\r\nContent-Type: image/svg+xml\r\nConnection: close\r\nContent-Length: " . length($picture) . "\r\n\r\n$picture";
		close $client;
	}
}

END
{
	local $?;
	for (@running) { kill 'KILL', $_; waitpid($_, 0); }
}

1;
