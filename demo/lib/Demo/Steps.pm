# The steps: the original application's test cases first, then what an owner would ask next.
# Rows and files are those of rows.sql. See Demo::Stage for what a step may hold.
package Demo::Steps;

use strict;
use warnings;
use utf8;

sub play {
    my ($stage, $imagekit, $database) = @_;

    $stage->step(
        'Delete a patch with several images',
        sql => 'DELETE FROM patches WHERE id = 1;',
        gone => [map {"/patches/acid/$_.jpg"} qw(front back top side café 夜), 'my cat'],
        log => ['Successfully deleted ImageKit file: front.jpg fileId: '],
    );

    $stage->step(
        'Delete a module',
        sql => 'DELETE FROM modules WHERE id = 1;',
        gone => ['/modules/maths/panel.jpg', '/modules/maths/pcb.png'],
    );

    $stage->step(
        'Delete a patch with a schema image',
        sql => 'DELETE FROM patches WHERE id = 3;',
        gone => ['/patches/drone/room.jpg', '/schemas/drone.png'],
    );

    $stage->step(
        'Delete rows without images',
        sql => "DELETE FROM patches WHERE id IN (2, 4);  -- images '{}'\n"
            . "DELETE FROM patches WHERE id = 9;        -- images NULL\n"
            . 'DELETE FROM modules WHERE id IN (3, 4);',
        gone => [],
        marker => 91,
    );

    $stage->step(
        'Delete a patch of whose two files one is already gone at ImageKit',
        meanwhile => 'somebody deletes /patches/ghost/gone.jpg there',
        prepare => sub { $imagekit->remove('acme', '/patches/ghost/gone.jpg') },
        sql => 'DELETE FROM patches WHERE id = 5;',
        gone => ['/patches/ghost/here.jpg'],
        log => [
            'File already deleted or not found on ImageKit: https://ik.imagekit.io/acme/patches/ghost/gone.jpg',
            'Successfully deleted ImageKit file: here.jpg fileId: ',
        ],
    );

    $stage->step(
        'Remove images from a patch by UPDATE',
        sql => "UPDATE patches SET images = '{https://ik.imagekit.io/acme/patches/techno/keep.jpg}' WHERE id = 6;",
        gone => ['/patches/techno/drop1.jpg', '/patches/techno/drop2.jpg'],
    );

    $stage->step(
        'Replace an image of a module by UPDATE, and spell the other one differently',
        sql => "UPDATE modules SET images = '{https://ik.imagekit.io/acme/modules/rings/new.jpg,\n"
            . "  https://img.acme.example/tr:w-64/modules/rings/stays.jpg?updatedAt=1700000000004}' WHERE id = 2;",
        gone => ['/modules/rings/old.jpg'],
    );

    $stage->step(
        'Replace the image in schema by UPDATE',
        sql => "UPDATE patches SET schema = jsonb_set(schema, '{imageUrl}',\n"
            . "  '\"https://ik.imagekit.io/acme/schemas/ambient-v2.png\"') WHERE id = 7;",
        gone => ['/schemas/ambient-v1.png'],
    );

    $stage->step(
        'Roll a DELETE back',
        sql => "BEGIN;\nDELETE FROM patches WHERE id = 8;\nROLLBACK;",
        gone => [],
        marker => 92,
    );

    # One of this user's modules has a photo that another user's patch shows as well.
    my $of_user_8 = <<'SQL';
        SELECT i.path FROM demo.image i
        JOIN (SELECT 'patches' AS relation, id, user_id FROM patches
              UNION ALL SELECT 'modules', id, user_id FROM modules) r ON r.relation = i.relation AND r.id = i.row_id
        WHERE r.user_id
SQL
    $stage->step(
        'Delete a user, with all modules and patches by cascade',
        sql => 'DELETE FROM users WHERE id = 8;',
        gone => [$database->column("$of_user_8 = 8 EXCEPT $of_user_8 <> 8")],
        look => "SELECT outcome, detail, url FROM imagekit.history WHERE outcome = 'kept';",
        shows => 'kept  still used by public.patches, source images',
    );

    $stage->step(
        'Delete one of two patches that share an image',
        sql => 'DELETE FROM patches WHERE id = 10;',
        gone => ['/patches/shared/only-first.jpg'],
        look => "SELECT outcome, detail FROM imagekit.history WHERE url LIKE '%/shared/rack.jpg';",
        shows => 'kept  still used by public.patches, source images',
    );

    $stage->step(
        'Delete the other one',
        sql => 'DELETE FROM patches WHERE id = 11;',
        gone => ['/patches/shared/rack.jpg'],
    );

    $stage->step(
        'A URL with a raw space is not guessed at, but parked',
        sql => 'DELETE FROM patches WHERE id = 12;  -- https://ik.imagekit.io/acme/patches/spaces/my dog.jpg',
        gone => [],
        log => ['Error deleting ImageKit file: https://ik.imagekit.io/acme/patches/spaces/my dog.jpg '],
        look => "SELECT state, last_error FROM imagekit.pending WHERE url LIKE '%/my dog.jpg';",
        shows => 'failed  the URL cannot be read with certainty: white space',
    );

    $stage->step(
        'A file that was moved at ImageKit is left alone where it is now',
        # The service's documentation leaves open whether a search heeds its folder. When it does not, it offers the
        # file of this name from the other folder; this stays so for the steps that follow.
        meanwhile => 'searches look at all folders from now on',
        prepare => sub { $imagekit->switch(search_path_parameter => 'ignored') },
        sql => 'DELETE FROM patches WHERE id = 13;  -- /patches/moved.jpg, which is /archive/moved.jpg now',
        gone => [],
        log => ['Could not find file to delete on ImageKit: https://ik.imagekit.io/acme/patches/moved.jpg'],
    );

    my $fault;
    $stage->step(
        'ImageKit answers the delete with 500, twice',
        meanwhile => 'the next two deletes will fail',
        prepare => sub { $fault = $imagekit->fault(kind => 'text_500', path => '^/v1/files/.', count => 2) },
        sql => 'DELETE FROM patches WHERE id = 14;',
        gone => ['/patches/patience.jpg'],
        log => [
            'Error deleting ImageKit file: https://ik.imagekit.io/acme/patches/patience.jpg ',
            'Successfully deleted ImageKit file: patience.jpg fileId: ',
        ],
        check => sub {
            my $hits = $imagekit->fault_hits($fault);
            return $hits == 2 ? () : "ImageKit was to answer 500 twice, and did so $hits times";
        },
    );

    check_the_rest($stage, $imagekit, $database);
    return;
}

# The whole picture at the end, from the rows that are left: every image they show is there, every bystander too, and
# the only file that no row uses is the one that was parked.
sub check_the_rest {
    my ($stage, $imagekit, $database) = @_;
    my $title = 'Every image that rows still show is there, and nothing is left over';
    $stage->print_title($title);
    my %shown = map { ("acme:$_" => 1) } $database->column(<<'SQL');
        SELECT DISTINCT i.path FROM demo.image i
        JOIN (SELECT unnest(images) AS url FROM modules UNION ALL SELECT unnest(images) FROM patches
              UNION ALL SELECT schema ->> 'imageUrl' FROM patches) r USING (url)
        WHERE i.path IS NOT NULL
SQL
    my %bystander = map { ($_ => 1) } $database->column("SELECT account || ':' || path FROM demo.bystander");
    my $files = $imagekit->files;
    my @left_over = grep { !$shown{$_} && !$bystander{$_} } sort keys %$files;
    $stage->print_field('rows', sprintf 'show %d files', scalar keys %shown);
    $stage->print_field('ImageKit',
        sprintf 'holds these, %d bystanders, and for a person to decide:', scalar keys %bystander);
    $stage->print_field('', map {s/^acme://r} @left_over);

    my @wrong = map {"gone, but must not be: $_"} grep { !exists $files->{$_} } sort keys %shown, keys %bystander;
    push @wrong, map {"left over: $_"} grep { $_ ne 'acme:/patches/spaces/my dog.jpg' } @left_over;
    push @wrong, map {"in the server's log: $_"} grep {/\b(?:ERROR|FATAL|PANIC): /} $database->all_log_lines;
    $stage->judge($title, 0, 0, @wrong);
    return;
}

1;
