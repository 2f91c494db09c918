# The files of the model test, and how rows spell them. A file is a number; what its name is, what URLs mean it and which
# file a URL means is known here, because it was made up here: the extension is never asked.

package ImageKit::ModelFiles;

use strict;
use warnings;

use Encode qw(decode_utf8 encode_utf8);
use ImageKit::Test;

our $ALIAS = 'https://img.acme.example';
our $PROTECTED = '/keep/*';

# Spellings of one file. PATH is written as an application would, RAW with letters outside ASCII as they are, ALL with each
# letter of the name escaped.
my @spellings = (
	sub { "$ENDPOINT$_[0]{path}" },
	sub { "$ENDPOINT/tr:w-100,h-50$_[0]{path}" },
	sub { "$ALIAS$_[0]{path}" },
	sub { "$ENDPOINT$_[0]{path}?updatedAt=1700000000000&ik-s=ab" },
	sub { "$ENDPOINT$_[0]{all}" },
	sub { "$ALIAS/tr:q-80:w-1$_[0]{path}?tr=w-40" },
	sub { "$ENDPOINT$_[0]{raw}#top" },
	sub { ($ENDPOINT =~ s{ik\.imagekit}{IK.ImageKit}r) . $_[0]{path} },
	sub { ($ENDPOINT =~ s{^https}{http}r) . "$_[0]{raw}?tr=h-5" });

# Names that need escapes, that differ by case alone, and that many files share.
my @names = (
	sub { "/f$_[0].jpg" },
	sub { "/$_[0]/cover.jpg" },
	sub { "/two words/my photo $_[0].jpg" },
	sub { "/\xC3\xA9t\xC3\xA9/caf\xC3\xA9 $_[0].png" },
	sub { "/$_[0]/Cover.jpg" },
	sub { "/pct/100%25-$_[0].webp" },
	sub { "/it's/a+b ($_[0]).jpg" },
	sub { '/deep/er/' . int($_[0] / 10) . "/IMG_$_[0].JPG" },
	sub { "/plain/no-extension-$_[0]" });

sub new
{
	my ($class, $imagekit) = @_;
	return bless { imagekit => $imagekit, last => 0, of_url => {}, of_path => {}, of_id => {}, path => {}, id => {} }, $class;
}

# Uploads COUNT files; returns the SQL that tells the database about them. Their numbers follow those before.
sub upload
{
	my ($self, $count) = @_;
	my @new = map { $self->{last} + $_ } 1 .. $count;
	$self->{last} += $count;
	my @rows;
	for my $file (@new)
	{
		my $path = $file % 25 == 0 ? "/keep/logo $file.png" : $names[ $file % @names ]->($file);
		$self->{path}{$file} = $path;
		$self->{of_path}{$path} = $file;
	}
	my @ids = $self->{imagekit}->seed(map { decode_utf8($self->{path}{$_}) } @new);
	for my $file (@new)
	{
		my $id = shift @ids;
		$self->{of_id}{$id} = $file;
		$self->{id}{$file} = $id;
		my @urls = $self->spellings($file);
		$self->{of_url}{$_} = $file for @urls;
		push @rows, "($file, ARRAY[" . join(', ', map { "'$_'" } @urls) . "], '$id')";
	}
	return 'INSERT INTO model.files VALUES ' . join(', ', @rows);
}

sub spellings
{
	my ($self, $file) = @_;
	my $path = $self->{path}{$file};
	my ($folder, $name) = $path =~ m{^(.*/)([^/]+)$};
	my %forms = (
		path => $path =~ s{([^A-Za-z0-9_./~-])}{sprintf '%%%02X', ord $1}ger,
		raw => $path =~ s{([^A-Za-z0-9_./~\x80-\xFF-])}{sprintf '%%%02X', ord $1}ger,
		all => ($folder =~ s{([^A-Za-z0-9_./~-])}{sprintf '%%%02X', ord $1}ger) . ($name =~ s{(.)}{sprintf '%%%02x', ord $1}gser));
	return map { $_->(\%forms) } @spellings;
}

sub of_url { return $_[0]{of_url}{ $_[1] }; }
sub of_id { return $_[0]{of_id}{ $_[1] }; }
sub id { return $_[0]{id}{ $_[1] }; }
sub path { return $_[0]{path}{ $_[1] }; }
sub last { return $_[0]{last}; }
sub protected { return $_[0]{path}{ $_[1] } =~ m{^/keep/}; }

# The numbers of all files that are in the library. A file that nobody has uploaded would be a fault of the test.
sub in_library
{
	my ($self) = @_;
	return map { $self->{of_path}{ encode_utf8($_) } // die "a file of nobody's: $_\n" } grep { !m{^/unreadable/} } $self->{imagekit}->files;
}

# URLs that cannot be read with certainty: they end as 'failed', and no file goes. Some of them name a file, if they are
# read as somebody might.
my $unreadable = 40;
sub upload_unreadable { my ($self) = @_; $self->{imagekit}->seed(map { "/unreadable/two words $_.jpg" } 1 .. $unreadable); return; }
sub unreadable_kept { my ($self) = @_; return $self->{imagekit}->count(prefix => '/unreadable/'); }
sub unreadable_count { return $unreadable; }
sub unreadable_url { my ($number) = @_; return "$ENDPOINT/unreadable/" . ($number % 2 ? "two words $number.jpg" : "\%zz $number.jpg" =~ tr/ /-/r); }
sub is_unreadable { return $_[0] =~ m{^\Q$ENDPOINT\E/unreadable/}; }

1;
