# An installation of PostgreSQL of a test's own, in which library and scripts of the extension may be exchanged. A server finds its
# files beside its program, so this is the programs, and links to all the rest.
#
#   my $installation = ImageKit::Installation->new;
#   my $t = ImageKit::Test->new(cluster => [ install_path => $installation->path ]);

package ImageKit::Installation;

use strict;
use warnings;

use File::Basename qw(basename dirname);
use File::Copy ();
use File::Path qw(make_path);
use PostgreSQL::Test::Utils;

sub new
{
	my ($class) = @_;
	my %from;
	for my $what (qw(bindir pkglibdir sharedir)) { chomp($from{$what} = `pg_config --$what`); }
	my $prefix = dirname($from{bindir});
	$prefix = dirname($prefix) until 3 == grep { index($_, "$prefix/") == 0 } values %from;
	my $root = PostgreSQL::Test::Utils::tempdir();
	my %to = map { $_ => $root . substr($from{$_}, length $prefix) } keys %from;

	# A program follows links to itself, and would find the original's files.
	_fill($from{bindir}, $to{bindir}, sub { 1 });
	_fill($from{pkglibdir}, $to{pkglibdir}, sub { $_[0] =~ /^imagekit_cleanup/ });
	_fill($from{sharedir}, $to{sharedir}, sub { 0 }, 'extension');
	_fill("$from{sharedir}/extension", "$to{sharedir}/extension", sub { $_[0] =~ /^imagekit_cleanup/ });
	return bless {%to}, $class;
}

# For Cluster::new.
sub path { return dirname($_[0]{bindir}); }

sub library { return "$_[0]{pkglibdir}/imagekit_cleanup.so"; }

# Writes a script of the extension: the update FROM--TO.
sub update_script
{
	my ($self, $from, $to, $sql) = @_;
	my $file = "$self->{sharedir}/extension/imagekit_cleanup--$from--$to.sql";
	unlink $file;
	append_to_file($file, $sql);
	return;
}

# As a package does it: another file in the place of the old one, which whoever has it open keeps.
sub replace_library
{
	my ($self) = @_;
	my $new = $self->library . '.new';
	File::Copy::copy($self->library, $new) or die "$new: $!";
	chmod 0755, $new;
	rename $new, $self->library or die "$new: $!";
	return;
}

# Links in TO to all that FROM has, and copies of those that COPIED says; all but EXCEPT.
sub _fill
{
	my ($from, $to, $copied, $except) = @_;
	make_path($to);
	for my $file (glob("$from/*"))
	{
		my $name = basename($file);
		next if defined $except && $name eq $except;
		if ($copied->($name))
		{
			File::Copy::copy($file, "$to/$name") or die "$file: $!";
			chmod((stat $file)[2] & 0777, "$to/$name");
		}
		else { symlink $file, "$to/$name" or die "$to/$name: $!"; }
	}
	return;
}

1;
