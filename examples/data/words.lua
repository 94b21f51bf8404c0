-- The people, places and things of the stories that the model in the box is trained on.

local function words(text)
  local list = {}
  for word in text:gmatch("%S+") do list[#list + 1] = word end
  return list
end

return {
  names = words [[
    Mary John Anna Tom Lucy Peter Emma Paul Kate David Sarah James Alice Henry Laura Simon Julia Mark Clara Robert
    Ruth Daniel Helen Martin Nora Victor Irene Oscar Grace George Sophie Frank Diana Walter Ella Philip Maria Adam
    Jane Charles Rosa Edward Linda Arthur Olivia Leo Hannah Jack Susan Michael Judith Steven Amy Kevin Eva Brian
    Carol Andrew Lena Eric Martha Gary Nancy Luke Sally Ryan Joan Jason Tina Aaron Vera Scott Wendy Bruce Molly
    Carl Paula Dennis Iris Felix Gloria Harold Heidi Ivan Lily Jacob Monica Kyle Rachel Louis Sandra Max Teresa Neil
    Violet Oliver Zoe Roger Ellen Sam
  ]],
  places = words [[
    store park school garden market station library beach office kitchen church museum zoo farm hotel bank cafe
    theater harbor bakery castle forest river bridge village city house hospital restaurant airport playground lake
    gym studio factory cinema mill port tower shop
  ]],
  objects = words [[
    drink book ball ring letter flower cake hat key map pen cup box coat basket ticket picture phone gift lamp
    bottle knife coin watch shirt toy bag chair apron blanket candle drum guitar kite lemon necklace peach radio scarf
    snack spoon stone towel vase violin
  ]],
}
