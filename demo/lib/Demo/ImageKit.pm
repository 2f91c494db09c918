# The emulator as the demo sees it: what the libraries hold, and somebody else's hand in them. Only the emulator's own
# control API is used, never the one the extension speaks.
package Demo::ImageKit;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;

our @ACCOUNTS = qw(acme globex);

# new(URL of the emulator)
sub new {
    my ($class, $url) = @_;
    # No proxy: the emulator is on this machine, whatever http_proxy says.
    my $http = HTTP::Tiny->new(timeout => 10, proxy => undef, http_proxy => undef, https_proxy => undef);
    return bless { url => $url, http => $http }, $class;
}

sub ask {
    my ($self, $method, $path, $body) = @_;
    my $options = defined $body ? { content => encode_json($body) } : {};
    my $answer = $self->{http}->request($method, "$self->{url}/_control/$path", $options);
    die "emulator: $method $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
    return decode_json($answer->{content});
}

# Puts files there, as if a day ago: what is uploaded when its row goes is kept. upload(account, path...)
sub upload {
    my ($self, $account, @paths) = @_;
    my $then = (time() - 86400) * 1000;
    return $self->ask(POST => 'seed', { account => $account, files => [ map { { filePath => $_, createdAt => $then } } @paths ] });
}

# Deletes files behind the extension's back: remove(account, path...)
sub remove {
    my ($self, $account, @paths) = @_;
    return $self->ask(POST => 'remove', { account => $account, filePaths => \@paths });
}

# Every file of every account, as "account:path" => "fileId version". A file deleted and uploaded again is another one.
sub files {
    my ($self) = @_;
    my %files;
    for my $account (@ACCOUNTS) {
        for my $file (@{ $self->ask(GET => "files?account=$account&limit=100000") }) {
            $files{"$account:$file->{filePath}"} = "$file->{fileId} $file->{version}";
        }
    }
    return \%files;
}

# Plants a fault; returns its number.
sub fault {
    my ($self, %rule) = @_;
    return $self->ask(POST => 'faults', \%rule)->{id};
}

# Turns a switch for a point that the service's documentation leaves open.
sub switch {
    my ($self, %switches) = @_;
    return $self->ask(POST => 'switches', \%switches);
}

# How many requests a fault has hit.
sub fault_hits {
    my ($self, $id) = @_;
    my ($fault) = grep { $_->{id} == $id } @{ $self->ask(GET => 'faults') };
    return $fault ? $fault->{hits} : 0;
}

1;
