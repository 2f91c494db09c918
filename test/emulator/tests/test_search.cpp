// The search grammar, seen through the API: each operator on each field it is documented for, and every refusal.
#include "fixture.h"
#include "times.h"

namespace ikemu {

class Search : public EmulatorTest {
  protected:
    void SetUp() override {
        ids = seed(R"([
            {"filePath":"/a.jpg","size":100,"width":10,"height":20,"createdAt":"2025-03-04T10:11:12.345Z"},
            {"filePath":"/b.png","size":10240,"tags":["red","big car"],"isPrivateFile":true,
             "createdAt":"2025-03-05T00:00:00.000Z","createdBy":"x@y.example"},
            {"filePath":"/pets/a.jpg","size":2097152,"AITags":["Cat"],"isPublished":false,"hasAlpha":true},
            {"filePath":"/pets/old/Summer-Cat final.jpeg","customMetadata":{"price":12.5,"sale":true,"brand":"Nike"}},
            {"filePath":"/petshop/doc.pdf","embeddedMetadata":{"Artist":"Me"}}])");
    }
    std::vector<std::string> ids;
};

TEST_F(Search, NameOperators) {
    EXPECT_EQ(found(R"(name = "a.jpg")"), "/a.jpg /pets/a.jpg");
    EXPECT_EQ(found(R"(name="a.jpg")"), "/a.jpg /pets/a.jpg");
    EXPECT_EQ(found(R"(name = "A.jpg")"), "");
    EXPECT_EQ(found(R"(type = "file" AND name : "b")"), "/b.png");
    EXPECT_EQ(found(R"(name IN ["a.jpg","b.png","none"])"), "/a.jpg /pets/a.jpg /b.png");
    EXPECT_EQ(found(R"(type="file" AND name NOT = "a.jpg")"), "/pets/old/Summer-Cat final.jpeg /b.png /petshop/doc.pdf");
    EXPECT_EQ(found(R"(type="file" AND name NOT IN ["a.jpg","b.png"])"), "/pets/old/Summer-Cat final.jpeg /petshop/doc.pdf");
}

TEST_F(Search, HasFindsEveryWordAndBeginningsOfTheLast) {
    EXPECT_EQ(found(R"(name HAS "summer cat")"), "/pets/old/Summer-Cat final.jpeg");
    EXPECT_EQ(found(R"(name HAS "cat fin")"), "/pets/old/Summer-Cat final.jpeg");
    EXPECT_EQ(found(R"(name HAS "sum cat")"), "");
    EXPECT_EQ(found(R"(name HAS "summer dog")"), "");
}

TEST_F(Search, PathEqualsTheFolderAndColonWhatIsBelow) {
    EXPECT_EQ(found(R"(type="file" AND path = "/pets/")"), "/pets/a.jpg");
    EXPECT_EQ(found(R"(type="file" AND path : "/pets/")"), "/pets/old/Summer-Cat final.jpeg /pets/a.jpg");
    EXPECT_EQ(found(R"(type="file" AND path = "/")"), "/a.jpg /b.png");
    EXPECT_EQ(found(R"(type="file" AND path IN ["/pets/","/petshop/"])"), "/pets/a.jpg /petshop/doc.pdf");
    EXPECT_EQ(found(R"(type="file" AND path NOT = "/")"), "/pets/old/Summer-Cat final.jpeg /pets/a.jpg /petshop/doc.pdf");
    EXPECT_EQ(found(R"(path = "/pets/")"), "/pets/old /pets/a.jpg");
}

TEST_F(Search, IdAndType) {
    EXPECT_EQ(found("id = \"" + ids[1] + "\""), "/b.png");
    EXPECT_EQ(found("id IN [\"" + ids[1] + "\", \"" + ids[0] + "\", \"" + unknown + "\"]"), "/a.jpg /b.png");
    EXPECT_EQ(found(R"(type = "folder")"), "/pets /pets/old /petshop");
    EXPECT_EQ(found(R"(type = "file-version")"), "");
    seed(R"(["/a.jpg"])");
    EXPECT_EQ(found(R"(type = "file-version")"), "/a.jpg");
    EXPECT_EQ(found(R"(name = "a.jpg" AND path = "/")"), "/a.jpg") << "versions only when a type term asks";
}

TEST_F(Search, Dates) {
    EXPECT_EQ(found(R"(createdAt < "2025-03-05")"), "/a.jpg");
    EXPECT_EQ(found(R"(type="file" AND createdAt <= "2025-03-05")"), "/a.jpg /b.png");
    EXPECT_EQ(found(R"(createdAt = "2025-03-05T00:00:00")"), "/b.png");
    EXPECT_EQ(found(R"(type="file" AND createdAt > "1h")"), "/pets/old/Summer-Cat final.jpeg /pets/a.jpg /petshop/doc.pdf");
    EXPECT_EQ(found(R"(type="file" AND createdAt < "1d")"), "/a.jpg /b.png");
    EXPECT_NE(refused("createdAt < 2020-01-01").find("Invalid search query - createdAt field must have a valid date "
                                                     "value. Make sure the value is enclosed within quotes."),
              std::string::npos);
    refused(R"(createdAt < "2025-02-30")");
    refused(R"(createdAt < "7")");
    refused(R"(createdAt < "1d2h")");
}

TEST(RelativeTime, CountsMonthsAndYearsByTheCalendar) {
    const std::int64_t now = *parse_time("2025-03-31T12:00:00.500Z");
    EXPECT_EQ(iso_time(*parse_relative_time("2h", now)), "2025-03-31T10:00:00.500Z");
    EXPECT_EQ(iso_time(*parse_relative_time("3w", now)), "2025-03-10T12:00:00.500Z");
    EXPECT_EQ(iso_time(*parse_relative_time("2m", now)), "2025-01-31T12:00:00.500Z");
    EXPECT_EQ(iso_time(*parse_relative_time("1y", now)), "2024-03-31T12:00:00.500Z");
    EXPECT_FALSE(parse_relative_time("1s", now));
    EXPECT_FALSE(parse_relative_time("h", now));
}

TEST_F(Search, SizesAndDimensions) {
    EXPECT_EQ(found("size = 100"), "/a.jpg");
    EXPECT_EQ(found(R"(size = "10kb")"), "/b.png");
    EXPECT_EQ(found(R"(size >= "2mb")"), "/pets/a.jpg");
    EXPECT_EQ(found("size IN [100, 10240]"), "/a.jpg /b.png");
    EXPECT_EQ(found("width < 100 AND height = 20"), "/a.jpg");
    refused(R"(size > "10 elephants")");
    refused(R"(width = "10")");
}

TEST_F(Search, FormatFlagsAndUploader) {
    EXPECT_EQ(found(R"(format = "png")"), "/b.png");
    EXPECT_EQ(found(R"(format IN ["jpg"])"), "/pets/old/Summer-Cat final.jpeg /a.jpg /pets/a.jpg");
    EXPECT_EQ(found("private = true"), "/b.png");
    EXPECT_EQ(found("published = false"), "/pets/a.jpg");
    EXPECT_EQ(found("transparency = true"), "/pets/a.jpg");
    EXPECT_EQ(found(R"(createdBy = "x@y.example")"), "/b.png");
    refused(R"(private = "true")");
}

TEST_F(Search, TagsIncludeThoseOfTheMachine) {
    EXPECT_EQ(found(R"(tags IN ["red","blue"])"), "/b.png");
    EXPECT_EQ(found(R"(tags IN ["Cat"])"), "/pets/a.jpg");
    EXPECT_EQ(found(R"(tags HAS "car")"), "/b.png");
    EXPECT_EQ(found("tags EXISTS"), "/pets/a.jpg /b.png");
    EXPECT_EQ(found(R"(type="file" AND tags NOT EXISTS)"), "/pets/old/Summer-Cat final.jpeg /a.jpg /petshop/doc.pdf");
    EXPECT_EQ(found(R"(tags EXISTS AND tags NOT IN ["red"])"), "/pets/a.jpg");
    refused(R"(tags = "red")");
}

TEST_F(Search, Metadata) {
    EXPECT_EQ(found(R"("customMetadata.price" > 12)"), "/pets/old/Summer-Cat final.jpeg");
    EXPECT_EQ(found(R"("customMetadata.sale" = true)"), "/pets/old/Summer-Cat final.jpeg");
    EXPECT_EQ(found(R"("customMetadata.brand" IN ["Nike"])"), "/pets/old/Summer-Cat final.jpeg");
    EXPECT_EQ(found(R"("customMetadata.brand" = "Puma")"), "");
    EXPECT_EQ(found(R"("embeddedMetadata.Artist" = "Me")"), "/petshop/doc.pdf");
    refused("customMetadata.price > 12");
}

TEST_F(Search, AndOrAndParentheses) {
    EXPECT_EQ(found(R"((name = "a.jpg" OR name = "b.png") AND path = "/")"), "/a.jpg /b.png");
    EXPECT_EQ(found(R"(name = "b.png" OR name = "a.jpg" AND path = "/pets/")"), "/pets/a.jpg /b.png");
    EXPECT_EQ(found(R"(((name = "b.png")))"), "/b.png");
    EXPECT_EQ(found(R"(name = "a.jpg" AND (path = "/pets/" OR path = "/none/"))"), "/pets/a.jpg");
}

TEST_F(Search, RefusesWhatIsNotOfTheGrammar) {
    EXPECT_EQ(refused(R"(filePath = "/a.jpg")").find("Invalid search query - filePath field"), 0u);
    for (const char *query :
         {"name", "name =", R"(name "a")", R"(name = "a)", "name = a.jpg", R"(name = "a" and name = "b")",
          R"(name = "a" AND)", R"((name = "a")", R"(name = "a"))", R"(name IN "a")", "name IN []", R"(name IN ["a")",
          R"(name > "a")", R"(path HAS "a")", "size : 1", R"(type = "image")", R"(name = "a" name = "b")", "= 1",
          R"(name NOT "a")", R"(name == "a")", "name = 'a.jpg'", R"(name = "a\"b")", R"(name ; "a")"})
        refused(query);
}

TEST_F(Search, QuotesAndBackslashesFollowTheSwitches) {
    seed(R"(["/we\"ird\\.jpg"])");
    turn(R"({"single_quotes":"accepted","backslash_escape":"accepted"})");
    EXPECT_EQ(found("name = 'b.png'"), "/b.png");
    EXPECT_EQ(found(R"(name = "we\"ird\\.jpg")"), R"(/we"ird\.jpg)");
}

TEST_F(Search, PathWithoutSlashFollowsTheSwitch) {
    EXPECT_EQ(found(R"(type="file" AND path = "/pets")"), "/pets/a.jpg");
    turn(R"({"path_without_slash":"no_match"})");
    EXPECT_EQ(found(R"(type="file" AND path = "/pets")"), "");
    EXPECT_EQ(found(R"(type="file" AND path = "/pets/")"), "/pets/a.jpg");
    EXPECT_EQ(found(R"(type="file" AND path = "/")"), "/a.jpg /b.png");
}

TEST_F(Search, OddCharactersInAValueAreOnlyThemselves) {
    seed(R"(["/a (1) [x]:y' *?é+%25.jpg"])");
    EXPECT_EQ(found(R"(name = "a (1) [x]:y' *?é+%25.jpg")"), "/a (1) [x]:y' *?é+%25.jpg");
    EXPECT_EQ(found(R"(name = "a*")"), "");
}

}  // namespace ikemu
