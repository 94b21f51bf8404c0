-- Pairs of words, relation by relation. Many words stand in more than one relation, so only the examples before a
-- word tell which answer is meant: `open : opened` or `open : closed`, `France : Paris` or `France : French`.

local function pairs_of(text)
  local list = {}
  for from, to in text:gmatch("(%a+)%-(%a+)") do list[#list + 1] = { from, to } end
  return list
end

return {
  { name = "capital", pairs = pairs_of [[
    France-Paris Germany-Berlin Italy-Rome Spain-Madrid Portugal-Lisbon England-London Ireland-Dublin Norway-Oslo
    Sweden-Stockholm Finland-Helsinki Denmark-Copenhagen Poland-Warsaw Austria-Vienna Hungary-Budapest Greece-Athens
    Turkey-Ankara Russia-Moscow China-Beijing Japan-Tokyo Egypt-Cairo Kenya-Nairobi Cuba-Havana Peru-Lima Chile-Santiago
    Canada-Ottawa Iran-Tehran Iraq-Baghdad Syria-Damascus Lebanon-Beirut Vietnam-Hanoi Thailand-Bangkok Korea-Seoul
    Ukraine-Kiev Romania-Bucharest Bulgaria-Sofia Serbia-Belgrade Nepal-Kathmandu Belgium-Brussels Croatia-Zagreb
    Scotland-Edinburgh
  ]] },
  { name = "language", pairs = pairs_of [[
    France-French Germany-German Italy-Italian Spain-Spanish Portugal-Portuguese England-English Ireland-Irish
    Norway-Norwegian Sweden-Swedish Finland-Finnish Denmark-Danish Poland-Polish Hungary-Hungarian Greece-Greek
    Turkey-Turkish Russia-Russian China-Chinese Japan-Japanese Vietnam-Vietnamese Thailand-Thai Korea-Korean
    Ukraine-Ukrainian Romania-Romanian Bulgaria-Bulgarian Serbia-Serbian Nepal-Nepali Croatia-Croatian Iran-Persian
    Iraq-Arabic Scotland-Scottish
  ]] },
  { name = "opposite", pairs = pairs_of [[
    hot-cold cold-hot big-small small-big tall-short short-tall fast-slow slow-fast old-young young-old hard-soft
    soft-hard dark-light light-dark rich-poor poor-rich happy-sad sad-happy high-low low-high near-far far-near
    wet-dry dry-wet clean-dirty dirty-clean full-empty empty-full strong-weak weak-strong early-late late-early
    loud-quiet quiet-loud wide-narrow narrow-wide deep-shallow shallow-deep sweet-bitter bitter-sweet good-bad bad-good
    open-closed up-down down-up left-right right-left win-lose lose-win buy-sell sell-buy push-pull pull-push
    love-hate hate-love start-stop stop-start laugh-cry cry-laugh day-night night-day
  ]] },
  { name = "plural", pairs = pairs_of [[
    cat-cats dog-dogs horse-horses cow-cows bird-birds tree-trees car-cars road-roads boat-boats hand-hands door-doors
    wall-walls table-tables child-children man-men woman-women foot-feet tooth-teeth mouse-mice goose-geese wolf-wolves
    leaf-leaves knife-knives box-boxes bus-buses fish-fish sheep-sheep baby-babies city-cities story-stories
    book-books ball-balls ring-rings letter-letters flower-flowers cake-cakes hat-hats key-keys map-maps pen-pens
    cup-cups coat-coats ticket-tickets bottle-bottles coin-coins watch-watches shirt-shirts toy-toys bag-bags
    chair-chairs park-parks school-schools garden-gardens church-churches farm-farms river-rivers bridge-bridges
    house-houses tower-towers walk-walks dance-dances call-calls
  ]] },
  { name = "past", pairs = pairs_of [[
    go-went see-saw take-took give-gave come-came know-knew think-thought say-said find-found make-made run-ran
    sing-sang swim-swam write-wrote eat-ate fly-flew grow-grew draw-drew drive-drove speak-spoke break-broke
    wear-wore teach-taught catch-caught bring-brought sleep-slept keep-kept feel-felt meet-met send-sent build-built
    stand-stood hear-heard sit-sat hold-held open-opened close-closed walk-walked talk-talked jump-jumped play-played
    work-worked help-helped look-looked want-wanted ask-asked call-called wash-washed cook-cooked paint-painted
    dance-danced drink-drank ring-rang win-won lose-lost buy-bought sell-sold push-pushed pull-pulled love-loved
    hate-hated start-started stop-stopped laugh-laughed cry-cried
  ]] },
  { name = "comparative", pairs = pairs_of [[
    hot-hotter cold-colder big-bigger small-smaller tall-taller short-shorter fast-faster slow-slower old-older
    young-younger hard-harder soft-softer dark-darker light-lighter rich-richer poor-poorer happy-happier sad-sadder
    high-higher low-lower near-nearer wet-wetter dry-drier clean-cleaner full-fuller strong-stronger weak-weaker
    early-earlier late-later loud-louder wide-wider deep-deeper sweet-sweeter good-better bad-worse
  ]] },
}
