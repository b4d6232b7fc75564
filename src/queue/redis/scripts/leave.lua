-- Removes consumers that hold nothing. ARGV: their names.
for i = 1, #ARGV do
  if #redis.call('XPENDING', stream, group, '-', '+', 1, ARGV[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, ARGV[i])
  end
end
return 1
