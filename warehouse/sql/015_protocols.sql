create table protocols (
    protocol_id varchar not null,
    description varchar not null,
    crop_mode varchar,
    crop_size_px integer,
    alignment varchar,
    resize_filter varchar,
    frame_window varchar,
    video_codec varchar,
    audio_source varchar,
    reinsertion varchar,
    paper_table varchar,
    settings_json varchar,
    primary key (protocol_id)
);

comment on table protocols is
    'Evaluation protocols: all that moves a score beside the method. One row per protocol.';

comment on column protocols.protocol_id is 'Name and hash of the protocol.';
comment on column protocols.description is 'The protocol in one sentence.';
comment on column protocols.crop_mode is 'How faces are cut: with one alignment from the truth, each on its own, or cut before.';
comment on column protocols.crop_size_px is 'Side of the square crop in pixels.';
comment on column protocols.alignment is 'Backend that found the face; none for files that were cut before.';
comment on column protocols.resize_filter is 'Filter that brings crops to their size.';
comment on column protocols.frame_window is 'Which frames are scored.';
comment on column protocols.video_codec is 'Codec of the scored file.';
comment on column protocols.audio_source is 'Which audio drives and is scored.';
comment on column protocols.reinsertion is 'Whether and how the face returned to the frame before scoring.';
comment on column protocols.paper_table is 'The paper''s table whose conditions this protocol matches in full; null: not comparable with any.';
comment on column protocols.settings_json is 'Every setting as JSON.';
