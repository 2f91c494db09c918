# An ImageKit of our own for one test: starts the emulator on a free port, drives its control API (test/emulator/README.md).
#
#   my $imagekit = ImageKit::Emulator->start;
#   $imagekit->seed('/pets/cat.jpg');
#   $imagekit->fault(kind => 'stall', method => 'DELETE');
#   is_deeply([ $imagekit->deleted ], ['/pets/cat.jpg']);
#
# The process ends with the test, however the test ends.

package ImageKit::Emulator;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $started = 0;
my @running;

# An emulator that nobody has seeded. ACCOUNTS: name => key; without any, "acme" with the key "private_test_acme".
sub start
{
	my ($class, %accounts) = @_;
	my $self = bless { accounts => \%accounts, http => HTTP::Tiny->new(timeout => 20) }, $class;
	$self->_run(0);
	return $self;
}

# As a service that was updated: the same address, but the process is another, and so are library and journal, which are empty.
sub restart
{
	my ($self) = @_;
	$self->stop;
	$self->{http} = HTTP::Tiny->new(timeout => 20);
	$self->_run($self->{port});
	return;
}

sub _run
{
	my ($self, $wanted) = @_;
	my %accounts = %{ $self->{accounts} };
	my $program = $ENV{IMAGEKIT_EMULATOR} or BAIL_OUT('IMAGEKIT_EMULATOR does not name the emulator');
	my $port_file = PostgreSQL::Test::Utils::tempdir() . '/port';
	my $log = "${PostgreSQL::Test::Utils::log_path}/"
	  . join('_', $0 =~ m{([^/]+?)(?:\.pl)?$}, 'emulator', ++$started) . '.log';
	my @command = ($program, '--port', $wanted, '--port-file', $port_file, '--parent-pid', $$,
		map { ('--account', "$_:$accounts{$_}") } sort keys %accounts);

	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# Away from the pipe to prove, which would wait for us to close it. Without END blocks: they are the test's.
		open(STDIN, '<', '/dev/null') && open(STDOUT, '>', $log) && open(STDERR, '>&', \*STDOUT)
		  && exec(@command);
		POSIX::_exit(127);
	}
	push @running, $pid;

	my $deadline = time() + 20;
	until (-s $port_file)
	{
		BAIL_OUT("the emulator has ended: see $log") if waitpid($pid, POSIX::WNOHANG) == $pid;
		BAIL_OUT("the emulator opens no port: see $log") if time() > $deadline;
		sleep 0.02;
	}
	chomp(my $port = slurp_file($port_file));
	@$self{ 'pid', 'port', 'url' } = ($pid, $port, "http://127.0.0.1:$port");
	note "emulator $started at $self->{url}, its log in $log";
	return;
}

sub url { $_[0]{url} }

# Ends the process: from now on nobody answers at the port.
sub stop
{
	my ($self) = @_;
	_end($self->{pid});
	return;
}

# The library -----------------------------------------------------------------------------------------------------------

# FILES: paths, or hashes as the control API takes them. Returns the fileIds.
sub seed
{
	my ($self, @files) = @_;
	return @{ $self->_post('seed', \@files)->{fileIds} };
}

# Plain files by the thousand; WHAT as the control API takes it.
sub seed_many { my ($self, %what) = @_; $self->_post('seed_many', \%what); return; }

# As if somebody else had deleted them.
sub remove { my ($self, @paths) = @_; return $self->_post('remove', { filePaths => \@paths })->{removed}; }

# As a person does it at ImageKit's dashboard: the file keeps its fileId.
sub rename
{
	my ($self, $path, $name) = @_;
	my $answer = $self->{http}->request('PUT', $self->{url} =~ s{//}{//private_test_acme:@}r . '/v1/files/rename',
		{ headers => { 'Content-Type' => 'application/json' }, content => encode_json({ filePath => $path, newFileName => $name }) });
	die "emulator: rename $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return;
}

# The same emulator, for another process: with a connection of its own.
sub for_child { my ($self) = @_; return bless { %$self, http => HTTP::Tiny->new(timeout => 20) }, ref $self; }

# What lies in the library, sorted.
sub files
{
	my ($self, %filter) = @_;
	return map { $_->{filePath} } @{ $self->_get('files', limit => 100000, %filter) };
}

sub count { my ($self, %filter) = @_; return $self->_get('count', %filter)->{count}; }

# What was asked --------------------------------------------------------------------------------------------------------

# Entries of the journal, oldest first; FILTER as the control API's: method, path, since, limit.
sub journal
{
	my ($self, %filter) = @_;
	return @{ $self->_get('journal', limit => 100000, %filter)->{entries} };
}

# "METHOD /path" of each request.
sub requests
{
	my ($self, %filter) = @_;
	return map { "$_->{method} $_->{path}" } $self->journal(%filter);
}

# The pages of the library that an audit has asked for.
sub pages { my ($self, %filter) = @_; return grep { ($_->{query}{sort} // '') eq 'ASC_CREATED' } $self->journal(method => 'GET', %filter); }

# The fileIds of the files that are gone with what was asked.
sub deleted
{
	my ($self, %filter) = @_;
	return map { @{ $_->{removed} } } $self->journal(%filter);
}

# The purges that were accepted, each {requestId, account, url}.
sub purges { my ($self) = @_; return @{ $self->_get('purges') }; }

# The requests that delete: one file, or many.
sub deletes
{
	my ($self) = @_;
	return grep { $_->{method} eq 'DELETE' || $_->{path} eq '/v1/files/batch/deleteByFileIds' } $self->journal;
}

sub forget { $_[0]->_call('DELETE', 'journal'); return; }

# How many requests are held by a stall at this moment.
sub stalled { return $_[0]->_get('health')->{stalled}; }

# What it does wrong ----------------------------------------------------------------------------------------------------

# A rule for the method DELETE is for deletes in either form, of one file or of many.
sub fault
{
	my ($self, %rule) = @_;
	$rule{method} = 'DELETE|POST' if ($rule{method} // '') eq 'DELETE';
	return $self->_post('faults', \%rule)->{id};
}

sub no_faults { $_[0]->_call('DELETE', 'faults'); return; }
sub release { $_[0]->_post('release', {}); return; }
sub switch { my ($self, %values) = @_; $self->_post('switches', \%values); return; }
sub accounts { my ($self, %change) = @_; $self->_post('accounts', \%change); return; }
sub limits { my ($self, %limits) = @_; $self->_post('limits', \%limits); return; }

# Below -----------------------------------------------------------------------------------------------------------------

sub _get
{
	my ($self, $what, %query) = @_;
	my $query = $self->{http}->www_form_urlencode(\%query);
	return $self->_call('GET', $what . ($query ne '' ? "?$query" : ''));
}

sub _post { my ($self, $what, $body) = @_; return $self->_call('POST', $what, $body); }

sub _call
{
	my ($self, $method, $what, $body) = @_;
	my %content = defined $body ? (content => encode_json($body)) : ();
	my $answer = $self->{http}->request($method, "$self->{url}/_control/$what", \%content);
	die "emulator: $method $what: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return decode_json($answer->{content});
}

sub _end
{
	my ($pid) = @_;
	return unless grep { $_ == $pid } @running;
	@running = grep { $_ != $pid } @running;
	kill 'TERM', $pid;
	waitpid($pid, 0);
	return;
}

END
{
	# waitpid() sets $?, which is the test's exit status.
	local $?;
	_end($_) for @running;
}

1;
