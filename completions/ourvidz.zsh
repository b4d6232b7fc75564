#compdef ourvidz

autoload -U is-at-least

_ourvidz() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_ourvidz_commands" \
"*::: :->ourvidz" \
&& ret=0
    case $state in
    (ourvidz)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-command-$line[1]:"
        case $line[1] in
            (generate)
_arguments "${_arguments_options[@]}" : \
'-p+[What to draw; - reads it from stdin]:TEXT:_default' \
'--prompt=[What to draw; - reads it from stdin]:TEXT:_default' \
'-n+[What not to draw; an empty one counts as given]:TEXT:_default' \
'--negative-prompt=[What not to draw; an empty one counts as given]:TEXT:_default' \
'-s+[First seed; image i uses SEED+i; -1 draws one \[default\: drawn and reported\]]:N:_default' \
'--seed=[First seed; image i uses SEED+i; -1 draws one \[default\: drawn and reported\]]:N:_default' \
'--steps=[Denoising steps, 1 to 150]:N:_default' \
'--cfg-scale=[How closely to follow the prompt, 0 to 30]:SCALE:_default' \
'-W+[Width in pixels, a multiple of 8 (of 16 for WAN)]:PX:_default' \
'--width=[Width in pixels, a multiple of 8 (of 16 for WAN)]:PX:_default' \
'-H+[Height in pixels, a multiple of 8 (of 16 for WAN)]:PX:_default' \
'--height=[Height in pixels, a multiple of 8 (of 16 for WAN)]:PX:_default' \
'-b+[Images to make, 1 to 64]:N:_default' \
'--batch-count=[Images to make, 1 to 64]:N:_default' \
'--scheduler=[Sampling method \[default\: the model'\''s own\]]:NAME:_default' \
'--schedule=[How noise levels are spread, such as karras, sgm_uniform or beta]:NAME:_default' \
'--preset=[Sampler, steps and guidance of a distilled model\: turbo, lightning-4, lightning-8, lcm, hyper]:NAME:_default' \
'--prediction-type=[What the model predicts, where its files do not say]:TYPE:(epsilon v_prediction sample)' \
'--eta=[Share of fresh noise in each step of ddim, tcd and the ancestral samplers, 0 to 1]:F:_default' \
'--guidance-rescale=[How far guidance is brought back to the deviation of the prediction, 0 to 1]:F:_default' \
'--cfg-interval=[The part of the schedule that has guidance, such as 0.2\:0.8]:START:END:_default' \
'--clip-skip=[Layers of the text encoders to skip besides the last]:N:_default' \
'--prompt-2=[The prompt of the second text encoder \[default\: the same\]]:TEXT:_default' \
'--negative-prompt-2=[The negative prompt of the second text encoder \[default\: the same\]]:TEXT:_default' \
'--vae=[An autoencoder in place of the model'\''s own\: a folder or a .safetensors file]:FILE:_default' \
'--control-preprocess=[What is made of every control picture]:HOW:(none canny)' \
'--frames=[Frames of a video, 4n+1 \[default\: 81, or what the model is made for\]]:N:_default' \
'--fps=[Frames a second, 1 to 120 \[default\: 16\]]:FPS:_default' \
'--flow-shift=[Shift of the noise levels, above 0 \[default\: the model'\''s own, 5 without one\]]:SHIFT:_default' \
'--first-frame=[Picture that the video begins with (needs a VACE model)]:FILE:_default' \
'--last-frame=[Picture that the video ends with (needs a VACE model)]:FILE:_default' \
'-i+[Picture to start from, or to follow (a video needs a VACE model)]:FILE:_default' \
'--init-img=[Picture to start from, or to follow (a video needs a VACE model)]:FILE:_default' \
'--strength=[How far to go from the picture, 0 to 1, as diffusers counts \[default\: 0.5; with a mask 0.9999\]]:STRENGTH:_default' \
'--mask=[What of the picture to paint anew\: white]:FILE:_default' \
'--prompt-syntax=[How weights are written in prompts\: a1111, comfy, compel or plain \[default\: a1111\]]:NAME:_default' \
'--reference-type=[What of the picture to follow\: style, composition or character]:TYPE:_default' \
'--reference-strength=[How strongly to follow the reference pictures, 0 to 1 \[default\: 0.5; videos 1\]]:STRENGTH:_default' \
'--format=[png, mp4, webm, gif or png-frames \[default\: by job type\]]:FORMAT:(png mp4 webm gif png-frames)' \
'*--lora=[A LoRA and its scale, repeatable\: a file, or a name in lora_dir \[scale\: 1\]]:FILE[:SCALE]:_default' \
'*--control=[ControlNet\: a diffusers folder or a .safetensors file; may be given several times]:MODEL:_default' \
'*--control-image=[The picture of a --control, in the same order]:IMG:_default' \
'*--control-scale=[How strongly a --control works, in the same order \[default\: 1\]]:F:_default' \
'*--control-start=[The share of the schedule at which a --control begins \[default\: 0\]]:F:_default' \
'*--control-end=[The share of the schedule at which a --control ends \[default\: 1\]]:F:_default' \
'*--ip-adapter=[IP-Adapter, plain or plus; may be given several times]:FILE:_default' \
'*--image-encoder=[Folder of the CLIP vision model that the --ip-adapter reads with]:FOLDER:_default' \
'*--ip-adapter-image=[Picture for the --ip-adapter; several for one adapter, or one for each \[default\: -i\]]:IMG:_default' \
'*--ip-adapter-scale=[How strongly an --ip-adapter works, in the same order \[default\: 1\]]:F:_default' \
'--ip-adapter-blocks=[Where it works\: everywhere, or only where colours or the arrangement come from]:BLOCKS:(all style layout)' \
'--refiner=[A second model for the last part of the schedule\: a name from models.toml, a folder or a file]:MODEL:_default' \
'--refiner-start=[The share of the schedule at which the refiner takes over \[default\: 0.8\]]:F:_default' \
'--hires-scale=[Enlarge the picture by this factor and refine it]:F:_default' \
'--hires-strength=[Denoising strength of that refining \[default\: 0.5\]]:F:_default' \
'--type=[Job type \[default\: by model; sdxl_image_fast, or video_fast for WAN models\]]:TYPE:_default' \
'()--from=[Replay the job that made this picture or video]:FILE:_files' \
'-o+[Where pictures go\: a file, a folder with a trailing /, or a template with {id} {seed} {index} {prompt} {date}]:PATH:_default' \
'--output=[Where pictures go\: a file, a folder with a trailing /, or a template with {id} {seed} {index} {prompt} {date}]:PATH:_default' \
'--sheet=[Write all pictures of the run, small and with their seeds, on one sheet]:FILE:_files' \
'--callback=[Write the callback to this file (may contain {id}) \[default\: callback.json beside the pictures\]]:FILE:_default' \
'--callback-url=[Post the callback to this address]:URL:_default' \
'--callback-format=[Shape of the callback \[default\: standard\]]:FORMAT:(standard workspace)' \
'--time-limit=[Stop a job between two steps after this many seconds; 0\: never \[default\: never\]]:SECONDS:_default' \
'-m+[A name from models.toml, a model folder or a checkpoint file]:NAME|PATH:_default' \
'--model=[A name from models.toml, a model folder or a checkpoint file]:NAME|PATH:_default' \
'--config-from=[Take the configuration of a single checkpoint file from this folder]:FOLDER:_files' \
'--dtype=[Number format of the weights \[default\: the device'\''s\]]:DTYPE:(f32 f16 bf16)' \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--zero-snr[For models that were trained on pure noise as well]' \
'--no-auto-negative[Give the model only the negative prompt of the job]' \
'--truncate-prompt[Cut prompts at 77 tokens, as diffusers does]' \
'--deterministic[Compute images one by one\: the same bits in any batch]' \
'--no-paste[Leave the part that the mask keeps as the model made it]' \
'--vae-tiling[Encode and decode in overlapping tiles\: less memory]' \
'--control-guess-mode[Let every --control guess what its picture shows, without help of the prompt]' \
'--force[Overwrite whatever is at the output path]' \
'(--force)--skip-existing[Leave out jobs whose results are there already]' \
'--trust-paths[Let a replayed file name model paths, local files and callback addresses]' \
'--strict[Fail when a replay has other weights or other pixels than the file it replays]' \
'--preview[Show every finished picture in the terminal]' \
'--keep-going[Run the valid jobs even when others are invalid]' \
'--dry-run[Show every resolved value and load nothing]' \
'--json[Print one JSON object a line on stdout]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::input -- Spec files (or - for stdin), or one prompt:_default' \
&& ret=0
;;
(enhance)
_arguments "${_arguments_options[@]}" : \
'()-p+[The prompt as a flag; - reads prompts from stdin]:TEXT:_default' \
'()--prompt=[The prompt as a flag; - reads prompts from stdin]:TEXT:_default' \
'(-p --prompt)--file=[Read prompts from this file, one a line]:FILE:_files' \
'--for=[The job type that the prompt is for]:TYPE:(sdxl_image_fast sdxl_image_high image_fast image_high video_fast video_high image7b_fast_enhanced image7b_high_enhanced video7b_fast_enhanced video7b_high_enhanced wan_video_fast wan_video_high)' \
'--style=[Manner of the enhanced prompt]:STYLE:(manual cinematic custom)' \
'--system-prompt=[Tell the model this instead of the type'\''s system message]:FILE:_files' \
'-s+[Seed of the answer]:N:_default' \
'--seed=[Seed of the answer]:N:_default' \
'--max-tokens=[Most tokens that the model may write, 1 to 32768]:N:_default' \
'--temperature=[0 takes the most probable token always; up to 10 \[default\: 0.7, 0 for the built-in model\]]:T:_default' \
'--top-p=[Draw from the tokens that reach this share, 0.001 to 1 \[default\: 0.9\]]:P:_default' \
'--top-k=[Draw from this many tokens, 0 for all \[default\: 20\]]:K:_default' \
'--repetition-penalty=[Make tokens that occurred less probable, 0.1 to 10 \[default\: 1.1, 1 for the built-in model\]]:R:_default' \
'--time-limit=[Most seconds for one answer, 0 to 3600 \[default\: 60\]]:SECONDS:_default' \
'-m+[The language model\: a name from models.toml or a folder \[default\: the route \`enhance\`\]]:NAME|PATH:_default' \
'--model=[The language model\: a name from models.toml or a folder \[default\: the route \`enhance\`\]]:NAME|PATH:_default' \
'--dtype=[Number format of the weights \[default\: the device'\''s\]]:DTYPE:(f32 f16 bf16)' \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--raw[Print the model'\''s answer as it is]' \
'--no-cache[Neither look into the cache nor fill it]' \
'--clear-cache[Remove every kept answer first; without a prompt, do nothing else]' \
'--legacy-names[Name sources as older producers do\: edge_function, worker_fallback, emergency_fallback]' \
'--json[Print one JSON object a line on stdout]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'*::input -- The prompt; or a .txt file with one prompt a line, or - for stdin with the same:_default' \
&& ret=0
;;
(chat)
_arguments "${_arguments_options[@]}" : \
'--once=[Say this, print the answer, and end; - takes all of stdin as one turn]:TEXT:_default' \
'--system-prompt=[Tell the model this first, instead of the operator'\''s system message]:FILE:_files' \
'-s+[Seed of the first answer; the next has the next \[default\: drawn\]]:N:_default' \
'--seed=[Seed of the first answer; the next has the next \[default\: drawn\]]:N:_default' \
'--max-tokens=[Most tokens of an answer, 1 to 32768 \[default\: 512\]]:N:_default' \
'--temperature=[0 takes the most probable token always; up to 10 \[default\: 0.7, 0 for the built-in model\]]:T:_default' \
'--top-p=[Draw from the tokens that reach this share, 0.001 to 1 \[default\: 0.9\]]:P:_default' \
'--top-k=[Draw from this many tokens, 0 for all \[default\: 20\]]:K:_default' \
'--repetition-penalty=[Make tokens that occurred less probable, 0.1 to 10 \[default\: 1.1, 1 for the built-in model\]]:R:_default' \
'-m+[The language model\: a name from models.toml or a folder \[default\: the route \`chat_conversation\`\]]:NAME|PATH:_default' \
'--model=[The language model\: a name from models.toml or a folder \[default\: the route \`chat_conversation\`\]]:NAME|PATH:_default' \
'--dtype=[Number format of the weights \[default\: the device'\''s\]]:DTYPE:(f32 f16 bf16)' \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--json[Print one JSON object a line on stdout]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(queue-drain)
_arguments "${_arguments_options[@]}" : \
'--queues=[Queues to drain, the most important first \[default\: sdxl_queue,chat_queue,wan_queue\]]:NAMES:_default' \
'--max-jobs=[Stop after this many jobs]:N:_default' \
'--max-seconds=[Begin no job after this time; exit 75 if work remains]:TIME:_default' \
'--job-timeout=[End a job that takes longer \[default\: 15m\]]:TIME:_default' \
'--max-attempts=[Tries of a job that crashes its worker \[default\: 3\]]:N:_default' \
'--keep-done=[Keep records of finished jobs this long \[default\: 7d\]]:TIME:_default' \
'--lease=[Time after which the jobs of a silent drain are taken over \[default\: 60s\]]:TIME:_default' \
'--heartbeat=[Time between two signs of life \[default\: a quarter of --lease\]]:TIME:_default' \
'--list-end=[Which end of a plain list holds the oldest item \[default\: right\]]:END:(left right)' \
'--storage=[Where assets go\: a folder or s3\://BUCKET/PREFIX \[default\: assets/ in the queue folder\]]:FOLDER|URL:_default' \
'--callback-url=[Where outcomes are POSTed]:URL:_default' \
'--callback-format=[Shape of callbacks \[default\: standard\]]:FORMAT:(standard workspace)' \
'--metrics=[Write numbers for Prometheus to this file]:FILE:_files' \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto; several with commas, one worker each \[default\: auto\]]:DEVICES:_default' \
'--watch[Wait for more when the queue is empty]' \
'--retry-timeouts[Try a job again that ran over its time]' \
'--allow-local-references[Let jobs name files of this machine as references]' \
'--dry-run[List what would be claimed, in order, and touch nothing]' \
'--force[Use a Redis that may evict keys]' \
'--json[Print one JSON object a line on stdout]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'::queue -- A folder, or redis\://… or rediss\://… \[default\: queue/ in the data folder\]:_default' \
&& ret=0
;;
(queue)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
":: :_ourvidz__subcmd__queue_commands" \
"*::: :->queue" \
&& ret=0

    case $state in
    (queue)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-queue-command-$line[1]:"
        case $line[1] in
            (add)
_arguments "${_arguments_options[@]}" : \
'--queue=[A folder (made if needed), or redis\://… or rediss\://…]:QUEUE:_default' \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--force[Use a Redis that may evict keys]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'*::specs -- Spec files; - reads stdin:_default' \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
'--json[Print JSON]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'::queue:_default' \
&& ret=0
;;
(retry)
_arguments "${_arguments_options[@]}" : \
'--all-dead[Every dead job]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'*::words -- QUEUE, if it is a folder or an address, and ids:_default' \
&& ret=0
;;
(cancel)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'*::words -- QUEUE, if it is a folder or an address, and ids:_default' \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
'--older-than=[Only those older than this]:TIME:_default' \
'--done[Records of finished jobs]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'::queue:_default' \
&& ret=0
;;
(deliver)
_arguments "${_arguments_options[@]}" : \
'--now[Send everything now, whatever its time]' \
'--json[Print one JSON object a line on stdout]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'::queue:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ourvidz__subcmd__queue__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-queue-help-command-$line[1]:"
        case $line[1] in
            (add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(retry)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(cancel)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(deliver)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(worker)
_arguments "${_arguments_options[@]}" : \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--name=[]:NAME:_default' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(models)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
":: :_ourvidz__subcmd__models_commands" \
"*::: :->models" \
&& ret=0

    case $state in
    (models)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-models-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--json[Print JSON]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(add)
_arguments "${_arguments_options[@]}" : \
'--config-from=[Take the configuration of a single checkpoint file from this folder]:FOLDER:_files' \
'*--route=[Use it for this job type, or for \`enhance\`; may be repeated]:TYPE:_default' \
'--models=[The models.toml to write \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--force[Replace an entry of this name]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
':name -- What it shall be called:_default' \
':path -- A model folder or a checkpoint file:_files' \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
'--config-from=[Take the configuration of a single checkpoint file from this folder]:FOLDER:_files' \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--json[Print JSON]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
':name:_default' \
&& ret=0
;;
(inspect)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
':file:_files' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ourvidz__subcmd__models__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-models-help-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(inspect)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'--json[Print JSON]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(bench)
_arguments "${_arguments_options[@]}" : \
'*--synthetic=[Full-size models with random weights\: sdxl, sdxl-turbo, wan-1.3b, wan-vace-1.3b, qwen-0.5b, qwen-7b]:NAME:_default' \
'*--size=[Sizes in pixels \[default\: the model'\''s own\]]:WxH:_default' \
'*--frames=[Frames of a video, 4n+1 \[default\: 81, or what the model is made for\]]:N:_default' \
'*--steps=[Denoising steps \[default\: 4; 1 for sdxl-turbo, 2 for WAN\]]:N:_default' \
'*--batch=[Pictures computed together \[default\: 1\]]:N:_default' \
'*--dtype=[Number formats of the weights \[default\: the device'\''s\]]:DTYPE:(f32 f16 bf16)' \
'--warmup=[Runs before measuring]:N:_default' \
'--iterations=[Runs measured]:N:_default' \
'--save=[Write the report to this file too]:FILE:_files' \
'--compare=[Compare with an earlier report]:FILE:_files' \
'--threshold=[How much slower than --compare is a failure]:PERCENT:_default' \
'--models=[The models.toml to use \[default\: ./models.toml, then the configuration folder'\''s\]]:FILE:_files' \
'--device=[cpu, cuda, cuda\:N, wgpu or auto \[default\: auto\]]:DEVICE:_default' \
'(--json)--markdown[Print a Markdown table]' \
'--json[Print one JSON object a line on stdout]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'*::what -- start, load, sdxl, wan, qwen, enhance, queue, or a model:_default' \
&& ret=0
;;
(config)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
":: :_ourvidz__subcmd__config_commands" \
"*::: :->config" \
&& ret=0

    case $state in
    (config)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-config-command-$line[1]:"
        case $line[1] in
            (show)
_arguments "${_arguments_options[@]}" : \
'--json[Print JSON]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(path)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(init)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ourvidz__subcmd__config__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-config-help-command-$line[1]:"
        case $line[1] in
            (show)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(path)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(init)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(schema)
_arguments "${_arguments_options[@]}" : \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
'--dynamic[A script that asks ourvidz for the candidates]' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
':shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
'()--all=[Write the pages of all commands into this folder]:FOLDER:_files' \
'(-v --verbose)--quiet[Say nothing but errors]' \
'*-v[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'*--verbose[Say more, such as which files were read; twice in queue-drain\: everything, prompts included]' \
'-h[Print help]' \
'--help[Print help]' \
'*::command -- The command that the page is about \[default\: ourvidz itself\]:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ourvidz__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-help-command-$line[1]:"
        case $line[1] in
            (generate)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(enhance)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(chat)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(queue-drain)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(queue)
_arguments "${_arguments_options[@]}" : \
":: :_ourvidz__subcmd__help__subcmd__queue_commands" \
"*::: :->queue" \
&& ret=0

    case $state in
    (queue)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-help-queue-command-$line[1]:"
        case $line[1] in
            (add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(retry)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(cancel)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(purge)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(deliver)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(worker)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(models)
_arguments "${_arguments_options[@]}" : \
":: :_ourvidz__subcmd__help__subcmd__models_commands" \
"*::: :->models" \
&& ret=0

    case $state in
    (models)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-help-models-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(inspect)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(bench)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(config)
_arguments "${_arguments_options[@]}" : \
":: :_ourvidz__subcmd__help__subcmd__config_commands" \
"*::: :->config" \
&& ret=0

    case $state in
    (config)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ourvidz-help-config-command-$line[1]:"
        case $line[1] in
            (show)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(path)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(init)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(schema)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_ourvidz_commands] )) ||
_ourvidz_commands() {
    local commands; commands=(
'generate:Make pictures from a prompt, from job specs or from an earlier picture' \
'enhance:Turn short prompts into richer ones' \
'chat:Talk with a language model' \
'queue-drain:Run the jobs of a queue\: a folder or Redis' \
'queue:Fill, look at and tidy a queue' \
'worker:Started by \`queue-drain\`; speaks JSON lines on stdin and stdout' \
'models:Look at models and at what made a picture' \
'doctor:Show devices, memory, configuration and what this build can do' \
'bench:Measure stages and whole jobs, also of full-size models that nobody has downloaded' \
'config:Show the settings and where each value came from' \
'schema:Print the JSON Schema of job specs, for editors and producers' \
'completions:Print a completion script for a shell' \
'man:Print a manual page' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__bench_commands] )) ||
_ourvidz__subcmd__bench_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz bench commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__chat_commands] )) ||
_ourvidz__subcmd__chat_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz chat commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__completions_commands] )) ||
_ourvidz__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz completions commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config_commands] )) ||
_ourvidz__subcmd__config_commands() {
    local commands; commands=(
'show:Every setting, its value, and whether a file, a variable or the default gives it' \
'path:Print where config.toml is looked for' \
'init:Write a config.toml in which every setting stands, commented out, with its default' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz config commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__help_commands] )) ||
_ourvidz__subcmd__config__subcmd__help_commands() {
    local commands; commands=(
'show:Every setting, its value, and whether a file, a variable or the default gives it' \
'path:Print where config.toml is looked for' \
'init:Write a config.toml in which every setting stands, commented out, with its default' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz config help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__help__subcmd__help_commands] )) ||
_ourvidz__subcmd__config__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz config help help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__help__subcmd__init_commands] )) ||
_ourvidz__subcmd__config__subcmd__help__subcmd__init_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz config help init commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__help__subcmd__path_commands] )) ||
_ourvidz__subcmd__config__subcmd__help__subcmd__path_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz config help path commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__help__subcmd__show_commands] )) ||
_ourvidz__subcmd__config__subcmd__help__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz config help show commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__init_commands] )) ||
_ourvidz__subcmd__config__subcmd__init_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz config init commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__path_commands] )) ||
_ourvidz__subcmd__config__subcmd__path_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz config path commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__config__subcmd__show_commands] )) ||
_ourvidz__subcmd__config__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz config show commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__doctor_commands] )) ||
_ourvidz__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz doctor commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__enhance_commands] )) ||
_ourvidz__subcmd__enhance_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz enhance commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__generate_commands] )) ||
_ourvidz__subcmd__generate_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz generate commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help_commands] )) ||
_ourvidz__subcmd__help_commands() {
    local commands; commands=(
'generate:Make pictures from a prompt, from job specs or from an earlier picture' \
'enhance:Turn short prompts into richer ones' \
'chat:Talk with a language model' \
'queue-drain:Run the jobs of a queue\: a folder or Redis' \
'queue:Fill, look at and tidy a queue' \
'worker:Started by \`queue-drain\`; speaks JSON lines on stdin and stdout' \
'models:Look at models and at what made a picture' \
'doctor:Show devices, memory, configuration and what this build can do' \
'bench:Measure stages and whole jobs, also of full-size models that nobody has downloaded' \
'config:Show the settings and where each value came from' \
'schema:Print the JSON Schema of job specs, for editors and producers' \
'completions:Print a completion script for a shell' \
'man:Print a manual page' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__bench_commands] )) ||
_ourvidz__subcmd__help__subcmd__bench_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help bench commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__chat_commands] )) ||
_ourvidz__subcmd__help__subcmd__chat_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help chat commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__completions_commands] )) ||
_ourvidz__subcmd__help__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help completions commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__config_commands] )) ||
_ourvidz__subcmd__help__subcmd__config_commands() {
    local commands; commands=(
'show:Every setting, its value, and whether a file, a variable or the default gives it' \
'path:Print where config.toml is looked for' \
'init:Write a config.toml in which every setting stands, commented out, with its default' \
    )
    _describe -t commands 'ourvidz help config commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__config__subcmd__init_commands] )) ||
_ourvidz__subcmd__help__subcmd__config__subcmd__init_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help config init commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__config__subcmd__path_commands] )) ||
_ourvidz__subcmd__help__subcmd__config__subcmd__path_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help config path commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__config__subcmd__show_commands] )) ||
_ourvidz__subcmd__help__subcmd__config__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help config show commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__doctor_commands] )) ||
_ourvidz__subcmd__help__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help doctor commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__enhance_commands] )) ||
_ourvidz__subcmd__help__subcmd__enhance_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help enhance commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__generate_commands] )) ||
_ourvidz__subcmd__help__subcmd__generate_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help generate commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__help_commands] )) ||
_ourvidz__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__man_commands] )) ||
_ourvidz__subcmd__help__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help man commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__models_commands] )) ||
_ourvidz__subcmd__help__subcmd__models_commands() {
    local commands; commands=(
'list:List models, where they are, and which job type uses which' \
'add:Write an entry into models.toml for a model folder or a checkpoint file' \
'verify:Check a model'\''s files\: what would load, what is missing, unused or mis-shaped' \
'inspect:Print the manifest inside a picture as JSON' \
    )
    _describe -t commands 'ourvidz help models commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__models__subcmd__add_commands] )) ||
_ourvidz__subcmd__help__subcmd__models__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help models add commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__models__subcmd__inspect_commands] )) ||
_ourvidz__subcmd__help__subcmd__models__subcmd__inspect_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help models inspect commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__models__subcmd__list_commands] )) ||
_ourvidz__subcmd__help__subcmd__models__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help models list commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__models__subcmd__verify_commands] )) ||
_ourvidz__subcmd__help__subcmd__models__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help models verify commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue_commands() {
    local commands; commands=(
'add:Check specs as \`generate\` does and enqueue them; prints one id a line' \
'status:Show what waits, runs, failed and was not delivered, and how long it will take' \
'retry:Bring dead jobs back' \
'cancel:Stop jobs, waiting or running' \
'purge:Forget records of finished jobs' \
'deliver:Send the callbacks that are due, and render nothing' \
    )
    _describe -t commands 'ourvidz help queue commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue__subcmd__add_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help queue add commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue__subcmd__cancel_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue__subcmd__cancel_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help queue cancel commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue__subcmd__deliver_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue__subcmd__deliver_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help queue deliver commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue__subcmd__purge_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help queue purge commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue__subcmd__retry_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue__subcmd__retry_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help queue retry commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue__subcmd__status_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help queue status commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__queue-drain_commands] )) ||
_ourvidz__subcmd__help__subcmd__queue-drain_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help queue-drain commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__schema_commands] )) ||
_ourvidz__subcmd__help__subcmd__schema_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help schema commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__help__subcmd__worker_commands] )) ||
_ourvidz__subcmd__help__subcmd__worker_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz help worker commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__man_commands] )) ||
_ourvidz__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz man commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models_commands] )) ||
_ourvidz__subcmd__models_commands() {
    local commands; commands=(
'list:List models, where they are, and which job type uses which' \
'add:Write an entry into models.toml for a model folder or a checkpoint file' \
'verify:Check a model'\''s files\: what would load, what is missing, unused or mis-shaped' \
'inspect:Print the manifest inside a picture as JSON' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz models commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__add_commands] )) ||
_ourvidz__subcmd__models__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models add commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__help_commands] )) ||
_ourvidz__subcmd__models__subcmd__help_commands() {
    local commands; commands=(
'list:List models, where they are, and which job type uses which' \
'add:Write an entry into models.toml for a model folder or a checkpoint file' \
'verify:Check a model'\''s files\: what would load, what is missing, unused or mis-shaped' \
'inspect:Print the manifest inside a picture as JSON' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz models help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__help__subcmd__add_commands] )) ||
_ourvidz__subcmd__models__subcmd__help__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models help add commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__help__subcmd__help_commands] )) ||
_ourvidz__subcmd__models__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models help help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__help__subcmd__inspect_commands] )) ||
_ourvidz__subcmd__models__subcmd__help__subcmd__inspect_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models help inspect commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__help__subcmd__list_commands] )) ||
_ourvidz__subcmd__models__subcmd__help__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models help list commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__help__subcmd__verify_commands] )) ||
_ourvidz__subcmd__models__subcmd__help__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models help verify commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__inspect_commands] )) ||
_ourvidz__subcmd__models__subcmd__inspect_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models inspect commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__list_commands] )) ||
_ourvidz__subcmd__models__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models list commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__models__subcmd__verify_commands] )) ||
_ourvidz__subcmd__models__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz models verify commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue_commands] )) ||
_ourvidz__subcmd__queue_commands() {
    local commands; commands=(
'add:Check specs as \`generate\` does and enqueue them; prints one id a line' \
'status:Show what waits, runs, failed and was not delivered, and how long it will take' \
'retry:Bring dead jobs back' \
'cancel:Stop jobs, waiting or running' \
'purge:Forget records of finished jobs' \
'deliver:Send the callbacks that are due, and render nothing' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz queue commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__add_commands] )) ||
_ourvidz__subcmd__queue__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue add commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__cancel_commands] )) ||
_ourvidz__subcmd__queue__subcmd__cancel_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue cancel commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__deliver_commands] )) ||
_ourvidz__subcmd__queue__subcmd__deliver_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue deliver commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help_commands() {
    local commands; commands=(
'add:Check specs as \`generate\` does and enqueue them; prints one id a line' \
'status:Show what waits, runs, failed and was not delivered, and how long it will take' \
'retry:Bring dead jobs back' \
'cancel:Stop jobs, waiting or running' \
'purge:Forget records of finished jobs' \
'deliver:Send the callbacks that are due, and render nothing' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ourvidz queue help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help__subcmd__add_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue help add commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help__subcmd__cancel_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help__subcmd__cancel_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue help cancel commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help__subcmd__deliver_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help__subcmd__deliver_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue help deliver commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help__subcmd__help_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue help help commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help__subcmd__purge_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue help purge commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help__subcmd__retry_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help__subcmd__retry_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue help retry commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__help__subcmd__status_commands] )) ||
_ourvidz__subcmd__queue__subcmd__help__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue help status commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__purge_commands] )) ||
_ourvidz__subcmd__queue__subcmd__purge_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue purge commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__retry_commands] )) ||
_ourvidz__subcmd__queue__subcmd__retry_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue retry commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue__subcmd__status_commands] )) ||
_ourvidz__subcmd__queue__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue status commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__queue-drain_commands] )) ||
_ourvidz__subcmd__queue-drain_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz queue-drain commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__schema_commands] )) ||
_ourvidz__subcmd__schema_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz schema commands' commands "$@"
}
(( $+functions[_ourvidz__subcmd__worker_commands] )) ||
_ourvidz__subcmd__worker_commands() {
    local commands; commands=()
    _describe -t commands 'ourvidz worker commands' commands "$@"
}

if [ "$funcstack[1]" = "_ourvidz" ]; then
    _ourvidz "$@"
else
    compdef _ourvidz ourvidz
fi
